"""Verdicts on results."""

import json

import pytest

from maed_jax import cli
from maed_jax.bench import record
from maed_jax.bench.compare import compare, judge
from maed_jax.errors import UserError


def cost(median, half=0.1):
    return {"median": median, "low": median - half, "high": median + half}


@pytest.mark.parametrize(
    "new, word",
    [
        (1.0, "same"),
        (1.2, "same"),  # the ranges touch
        (1.24, "same"),  # a gap within the tolerance
        (1.4, "worse"),
        (0.7, "better"),
    ],
)
def test_a_gap_beyond_the_tolerance_counts(new, word):
    assert judge("", cost(1.0), cost(new), 0.05).word == word


def result(bench="model", **yards):
    rows = [{"name": name, "yards": cost(median)} for name, median in yards.items()]
    return {"bench": bench, "rows": [*rows, {"name": "too large", "operations": 1}]}


def test_rows_are_paired_by_name():
    found = compare(result(a=1.0, b=2.0, gone=3.0), result(b=3.0, a=1.0, new=1.0), 0.05)
    assert [(v.name, v.word) for v in found] == [("b", "worse"), ("a", "same")]
    assert found[0].change == 1.5 and found[0].gap == pytest.approx(2.9 / 2.1 - 1)


def test_without_a_yardstick_ratios_are_compared_the_other_way_round():
    old, new = ({"bench": "data", "rows": [{"name": "a", "ratio": cost(r)}]} for r in (8.0, 4.0))
    assert compare(old, new, 0.05)[0].word == "worse"
    assert compare(new, old, 0.05)[0].word == "better"


def test_the_command(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(result(a=1.0)))
    new.write_text(json.dumps(result(a=1.5)))
    cli.dispatch(["bench", "compare", str(new), str(old)])
    assert "better" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        cli.dispatch(["bench", "compare", str(old), str(new)])
    assert exit.value.code == 1 and "worse" in capsys.readouterr().out
    cli.dispatch(["bench", "compare", str(old), str(new), "--tolerance", "0.5"])


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="one result is from bench model, the other from train"):
        compare(result(a=1.0), result("train", a=1.0), 0.05)
    with pytest.raises(UserError, match="no measured row in common"):
        compare(result(a=1.0), result(b=1.0), 0.05)
    with pytest.raises(UserError, match="is a folder: pass the file .* --json"):
        record.read(tmp_path)
    file = tmp_path / "other.json"
    for text in ("[]", "[" * 100_000, '{"bench": "a", "rows": [{"name": "b", "yards": {}}]}'):
        file.write_text(text)
        with pytest.raises(UserError, match="other.json cannot be read as a result of maed bench"):
            cli.dispatch(["bench", "compare", str(file), str(file)])
    with pytest.raises(UserError, match="absent.json cannot be read"):
        cli.dispatch(["bench", "compare", str(tmp_path / "absent.json"), str(file)])
