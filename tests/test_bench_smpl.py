"""`maed bench smpl` with few bodies, compared with a fake smplx."""

import json

import pytest
import small_bench

from maed_jax import cli
from maed_jax.bench import peers, programs
from maed_jax.bench.operations import Count
from maed_jax.errors import UserError


def test_paths_beside_a_peer(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    asked = []

    def peer(body, rotmat, shape, verts):
        asked.append(verts.shape)
        return {"smplx": lambda: None, "smplx with gradient": lambda: None}, ""

    monkeypatch.setattr(peers, "smplx", peer)
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["--batch", "2", "--rounds", "2", "--cpu"]
    written = ["--json", str(out), "--plot", str(plot)]
    cli.dispatch(["bench", "smpl", *arguments, *written])
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    ours = ["joints", "joints with gradient", "mesh", "mesh with gradient"]
    assert list(rows) == [*ours, "smplx", "smplx with gradient"]
    assert all(rows[name]["ratio"]["median"] > 0 for name in ours)
    assert rows["mesh"]["operations"] > 5 * rows["joints"]["operations"]
    assert rows["mesh with gradient"]["operations"] > 2 * rows["mesh"]["operations"]
    assert asked[0][0] == 2 and plot.stat().st_size > 5000
    assert "times as fast as smplx" in capsys.readouterr().out


def test_without_a_peer(monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    nothing = programs.Program(lambda: 0, Count(1, 1), 0.1, {})
    monkeypatch.setattr(programs, "compile", lambda function, *arguments: nothing)
    monkeypatch.setattr(peers, "smplx", lambda *_: ({}, "no module named torch"))
    cli.dispatch(["bench", "smpl", "--batch", "1", "--rounds", "1"])
    assert "skipping smplx: no module named torch" in capsys.readouterr().err


def test_mistakes_are_named():
    with pytest.raises(UserError, match="--batch: needs a whole number above 0"):
        cli.dispatch(["bench", "smpl", "--batch", "0"])
