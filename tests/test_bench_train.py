"""`maed bench train` on a tiny network."""

import json

import pytest
import small_bench

from maed_jax import cli
from maed_jax.errors import UserError


def test_steps(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["--rounds", "2", "--frames", "2", "--images", "1", "--remat", "true"]
    arguments += ["--only", "step"]
    tiny = small_bench.tiny_model(monkeypatch)
    cli.dispatch(["bench", "train", *tiny, *arguments, "--json", str(out), "--plot", str(plot)])
    result = json.loads(out.read_text())
    (row,) = result["rows"]
    assert row["name"] == "step, remat true" and row["name"] in capsys.readouterr().out
    assert row["seconds"]["low"] > 0 and row["memory"]["all"] > 0
    assert row["operations"] > 0 and row["peak bytes"] > 2**26
    assert result["settings"]["model"]["remat"] and result["settings"]["images"] == 1
    assert plot.stat().st_size > 5000


def test_parts(tmp_path, monkeypatch):
    small_bench.small_yardstick(monkeypatch)
    small_bench.products(monkeypatch)
    out = tmp_path / "out.json"
    arguments = ["--config", "debug", "--rounds", "1", "--only", "parts", "--json", str(out)]
    cli.dispatch(["bench", "train", *arguments])
    root, blocks = json.loads(out.read_text())["rows"]
    assert (root["name"], blocks["name"]) == ("root with gradient", "blocks with gradient")
    assert root["seconds"]["low"] > 0 and root["memory"]["all"] > 0
    # The matmul, and one for the gradient of each chosen argument: the parameters, or both.
    assert (root["operations"], blocks["operations"]) == (4 * 32**3 * 16, 6 * 32**3 * 16)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="there is no group 'forward'; choose from step, parts"):
        cli.dispatch(["bench", "train", "--only", "forward"])
    with pytest.raises(UserError, match="--clips: needs a whole number above 0"):
        cli.dispatch(["bench", "train", "--clips", "0"])
