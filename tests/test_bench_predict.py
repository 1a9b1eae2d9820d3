"""`maed bench predict` on a tiny network, and its video."""

import json

import numpy as np
import pytest
import small_bench

from maed_jax import cli
from maed_jax.bench.footage import write_walk
from maed_jax.errors import UserError
from maed_jax.inference.detect import make_detector
from maed_jax.inference.people import find_people
from maed_jax.inference.video import open_video


def test_somebody_walks_through_the_video(tmp_path):
    write_walk(tmp_path / "walk.mp4", 12, (480, 270))
    video = open_video(tmp_path / "walk.mp4")
    assert video.size == (480, 270)
    (track,) = find_people(video, make_detector("hog")).tracks
    assert len(track.frames) == 12
    x = track.boxes[:, 0]
    assert (np.diff(x) > 0).all() and 100 < x[0] < x[-1] < 380


def test_stages(tmp_path, monkeypatch, capsys):
    small_bench.small_yardstick(monkeypatch)
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    written = ["--json", str(out), "--plot", str(plot)]
    tiny = small_bench.tiny_model(monkeypatch)
    arguments = ["--frames", "8", "--size", "320x240", "--rounds", "1"]
    cli.dispatch(["bench", "predict", *tiny, *arguments, *written])
    rows = [row["name"] for row in json.loads(out.read_text())["rows"]]
    assert rows[0] == "network alone" and rows[-1] == "everything" and len(rows) == 7
    assert "finding people" in capsys.readouterr().out and plot.stat().st_size > 5000


def test_mistakes_are_named():
    for size in ("4", "²x99"):
        with pytest.raises(UserError, match=f"--size must look like 1280x720, not '{size}'"):
            cli.dispatch(["bench", "predict", "--size", size])
