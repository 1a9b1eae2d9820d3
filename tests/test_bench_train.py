"""`maed bench train` on a tiny network."""

import json

import pytest
import small_bench

from maed_jax import cli
from maed_jax.errors import UserError


def test_steps(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["--rounds", "2", "--frames", "2", "--images", "1", "--remat", "true"]
    tiny = small_bench.tiny_model(monkeypatch)
    cli.dispatch(["bench", "train", *tiny, *arguments, "--json", str(out), "--plot", str(picture)])
    result = json.loads(out.read_text())
    (row,) = result["rows"]
    assert row["name"] == "step, remat true" and row["name"] in capsys.readouterr().out
    assert row["seconds"]["low"] > 0 and row["memory"]["all"] > 0
    assert row["operations"] > 0 and row["peak bytes"] > 2**26
    assert result["settings"]["model"]["remat"] and result["settings"]["images"] == 1
    assert picture.stat().st_size > 5000


def test_mistakes_are_named():
    with pytest.raises(UserError, match="--clips and --frames are at least 1"):
        cli.dispatch(["bench", "train", "--clips", "0"])
