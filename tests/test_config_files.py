"""Configuration files: the list of them, variants, and errors in them."""

import pytest

from maed_jax.errors import UserError
from maed_jax.runs import config as configs
from maed_jax.runs import config_files


def test_the_list_tells_variants_and_studies():
    listed = config_files.list_configs()
    assert listed["stage2"].lines[1:] == ("Variants: no_3dpw.",)
    assert len(listed["stage1"].lines) == 1
    assert [name for name, entry in listed.items() if entry.study] == ["ablation"]


def test_broken_file(tmp_path):
    for text, says in (
        ("def get_config(:", r"broken.py: SyntaxError: .* \(broken.py, line 1\)"),
        ("import math\nmath.tau.hex.no", "broken.py, line 2: AttributeError: .*'no'"),
        ("import mathz", "broken.py, line 1: ModuleNotFoundError: .*'mathz'"),
    ):
        (tmp_path / "broken.py").write_text(text)
        with pytest.raises(UserError, match=says):
            configs.load_config(str(tmp_path / "broken.py"))
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match="no get_config"):
        configs.load_config(str(tmp_path / "empty.py"))


def own_config(tmp_path, body, parameters="variant=None"):
    """The path of a user's configuration that starts from the defaults, followed by `body`."""
    lines = ["from maed_jax.runs.config import defaults", f"def get_config({parameters}):"]
    lines += ["    c = defaults()", *(f"    {line}" for line in body)]
    (tmp_path / "own.py").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "own.py")


@pytest.mark.parametrize(
    "parameters, variant, seed",
    [
        ("", "", 0),
        ("variant", "", 0),
        ("variant=None", ":few", 1),
        ("size='few'", "", 1),
        ("size='few'", ":many", 0),
    ],
)
def test_a_file_may_take_a_variant_or_nothing(tmp_path, parameters, variant, seed):
    lines = ["c.seed = int('few' in locals().values())", "return c"]
    spec = own_config(tmp_path, lines, parameters) + variant
    assert configs.load_config(spec).seed == seed


def test_a_file_may_have_a_study_and_augmentations_of_parts(tmp_path):
    lines = ["c.study = type(c)({'any': 1})", "c.data.augment_images.hue = 0.5", "return c"]
    assert configs.load_config(own_config(tmp_path, lines)).study.any == 1


@pytest.mark.parametrize(
    "line, says",
    [
        (
            "c.optimizer.learnig_rate = 3e-4",
            "own.py: the setting config.optimizer.learnig_rate does not exist; "
            "did you mean optimizer.learning_rate?",
        ),
        ("c.model.dpeth = 4", "config.model.dpeth does not exist; did you mean model.depth?"),
        ("c.optimizr.l2 = 0.1", "own.py, line 4: .* no setting 'optimizr'; .* mean optimizer?"),
        ("c.steps = 'many'", "own.py, line 4: steps must be a whole number, not 'many'$"),
        ("c.optimizer.l2 = '1\\n2'", r"line 4: l2 must be a number, not '1\\n2'$"),
        ("c.loss = 3", "line 4: loss must be a ConfigDict, not 3$"),
        ("c.data.clips = 'x'", "line 4: clips must be a tuple, not 'x'$"),
        ("c.steps = stepz", "own.py, line 4: NameError: name 'stepz' is not defined"),
        ("{'few': 1}[variant]", "own.py, line 4: KeyError: None$"),
        ("c.seed = int('few')", "own.py, line 4: ValueError: .*'few'$"),
        ("assert variant", "own.py, line 4: AssertionError$"),
        ("c.loss = type(c)({'pose': 1.0})", "no config.loss.keypoints_2d; start from c = defaults"),
        ("return None", "own.py returns a NoneType, .*: end it with `return c`"),
        ("return {'steps': 3}", "own.py returns a dict"),
    ],
)
def test_mistakes_in_a_file_are_one_line(tmp_path, line, says):
    with pytest.raises(UserError, match=says) as error:
        configs.load_config(own_config(tmp_path, [line, "return c"]))
    assert "\n" not in str(error.value)


def test_a_file_without_variants_is_asked_for_one(tmp_path):
    with pytest.raises(UserError, match="own.py has no variant 'few'"):
        configs.load_config(own_config(tmp_path, ["return c"], "") + ":few")
