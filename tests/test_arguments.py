import pytest

from maed_jax.arguments import Parser, add_step, from_zero, positive, seed
from maed_jax.errors import UserError


@pytest.fixture
def parser():
    parser = Parser(prog="maed verb")
    parser.add_argument("--out", required=True)
    parser.add_argument("--batch", type=positive(int), default=8)
    parser.add_argument("--focal", type=positive(float))
    parser.add_argument("--workers", type=from_zero)
    parser.add_argument("--seed", type=seed, default=1)
    parser.add_argument("--data_dir")
    parser.add_argument("names", nargs="*")
    add_step(parser)
    return parser


def test_right_ones(parser):
    found = parser.parse_args(["--out", "x", "--batch", "2", "--focal", "1.5", "--seed", "0"])
    assert (found.out, found.batch, found.focal, found.seed) == ("x", 2, 1.5, 0)
    steps = [
        parser.parse_args(["--out=x", *step]).step for step in ([], ["--step=7"], ["--step=best"])
    ]
    assert steps == [None, 7, "best"]


@pytest.mark.parametrize(
    "words",
    [
        ["--data-dir", "a-b_c"],
        ["--data-dir=a-b_c"],
        ["--data_dir=a-b_c"],
        ["--data-d", "a-b_c"],  # abbreviated
        ["--dat=a-b_c"],
    ],
    ids=" ".join,
)
def test_hyphens_stand_for_underscores(parser, words):
    assert parser.parse_args(["--out", "x", *words]).data_dir == "a-b_c"


def test_only_in_names_of_options(parser):
    words = ["--out=--data-dir", "--config.data.val-dataset=a-b", "--other-dir", "x-y"]
    found, rest = parser.parse_known_args([*words, "--", "--data-dir"])
    assert found.out == "--data-dir" and found.data_dir is None
    assert found.names == ["x-y", "--data-dir"]
    assert rest == ["--config.data.val-dataset=a-b", "--other-dir"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--out", "x", "--bacht=4"], "there is no argument '--bacht'; did you mean --batch? maed"),
        (
            ["--out", "x", "--zzz"],
            "there is no argument '--zzz'; maed verb --help lists all arguments",
        ),
        ([], "the following arguments are required: --out"),
        (["--data-dir", "x"], "the following arguments are required: --out"),
        (["--out", "x", "--data-dri", "y"], "no argument '--data-dri'; did you mean --data_dir?"),
        (["--otu", "x"], "there is no argument '--otu'; did you mean --out? maed"),
        (["--config.out=x"], "the following arguments are required: --out"),
        (["--out"], "argument --out: expected one argument"),
        (["--out", "x", "--batch", "1.5"], "needs a whole number above 0, not '1.5'"),
        (["--out", "x", "--focal", "-1"], "needs a number above 0, not '-1'"),
        (["--out", "x", "--focal", "inf"], "needs a number above 0, not 'inf'"),
        (["--out", "x", "--workers", "-1"], "needs a whole number of at least 0, not '-1'"),
        (["--out", "x", "--seed", "-1"], "needs a whole number of at least 0, not '-1'"),
        (
            ["--out", "x", "--seed", "4294967296"],
            "needs a whole number below 2^32, not '4294967296'",
        ),
        (
            ["--out", "x", "--step", "worst"],
            "needs a step number, or best, not 'worst'",
        ),
        (["--out", "x", "--step", "-1"], "needs a step number, or best, not '-1'"),
        (["--out", "x", "--seed", "0.5"], "needs a whole number of at least 0, not '0.5'"),
    ],
)
def test_wrong_ones_are_answered_by_one_line(parser, argv, message, capsys):
    with pytest.raises(UserError) as error:
        parser.parse_args(argv)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert capsys.readouterr().err == ""
