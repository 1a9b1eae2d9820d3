"""`maed bench model`, with matmuls in place of the network."""

import json

import pytest
import small_bench

from maed_jax import cli
from maed_jax.errors import UserError

TINY = ["--config", "debug", "--rounds", "2", "--frames", "2", "--lengths", "3"]


def test_all_groups(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    small_bench.products(monkeypatch)
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    more = ["--batches", "2", "--json", str(out), "--plot", str(plot)]
    cli.dispatch(["bench", "model", *TINY, *more])
    result = json.loads(out.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == [
        *("forward", "root", "blocks"),
        *("forward, 3 frames", "forward, 2 clips"),
        *("block parallel, 3 frames", "block coupling, 3 frames"),
    ]
    printed = capsys.readouterr().out
    for name, row in rows.items():
        assert name in printed
        assert 0 < row["seconds"]["low"] <= row["seconds"]["high"]
        assert row["share"]["median"] > 0 and row["bytes"] > 0 and row["memory"]["all"] > 0
    assert rows["forward, 2 clips"]["operations"] == 2 * rows["forward"]["operations"]
    wide, narrow = (rows[f"block {mode}, 3 frames"] for mode in ("coupling", "parallel"))
    assert wide["operations"] == 3 * narrow["operations"]
    assert (wide["frames"], wide["clips"], wide["mode"]) == (3, 1, "coupling")
    assert result["yardstick"]["matmuls"]["median"] > 0 and result["peak bytes"] > 2**26
    assert result["settings"]["model"]["image_size"] == 32 and plot.stat().st_size > 5000


def test_what_is_too_large_is_not_run(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    small_bench.products(monkeypatch)
    out = tmp_path / "out.json"
    few = ["--only", "lengths", "--memory", "0", "--json", str(out), "--dtype", "bfloat16"]
    cli.dispatch(["bench", "model", *TINY, *few])
    result = json.loads(out.read_text())
    (row,) = result["rows"]
    assert row["name"] == "forward, 3 frames" and row["memory"]["all"] > 0
    assert "seconds" not in row
    assert result["settings"]["model"]["dtype"] == "bfloat16"
    assert "too large" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "parts,arms"], "no group 'arms'; choose from parts, lengths"),
        (["--lengths", "1,x"], "--lengths takes numbers such as 1,2,4, not '1,x'"),
        (["--batches", "0"], "--batches takes numbers such as 1,2,4, not '0'"),
        (["--clips", "0"], "--clips: needs a whole number above 0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        cli.dispatch(["bench", "model", *TINY, *arguments])
