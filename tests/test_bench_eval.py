"""`maed bench eval` on a tiny network."""

import json

import pytest
import small_bench

from maed_jax import cli
from maed_jax.errors import UserError


def test_stages(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    monkeypatch.setattr("maed_jax.bench.readers.CROP", 64)
    out = tmp_path / "out.json"
    tiny = small_bench.tiny_model(monkeypatch)
    arguments = ["--frames", "20", "--batch", "8", "--rounds", "1"]
    cli.dispatch(["bench", "eval", *tiny, *arguments, "--json", str(out)])
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["network alone", "reading clips", "the pass", "scoring", "everything"]
    assert rows["network alone"]["times the network"]["median"] == 1
    assert all(row["seconds"]["median"] > 0 for row in rows.values())
    assert "times the network" in capsys.readouterr().out


def test_mistakes_are_named():
    with pytest.raises(UserError, match="--frames: needs a whole number above 0"):
        cli.dispatch(["bench", "eval", "--frames", "0"])
