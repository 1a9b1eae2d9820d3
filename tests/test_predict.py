import json
import os
import signal
import sys
import types

import numpy as np
import pytest
from small_videos import FakeEstimator, damage, figure_images, write_video

from maed_jax.body.mannequin import mannequin
from maed_jax.cli import run
from maed_jax.errors import UserError
from maed_jax.inference import predict
from maed_jax.inference.results import load_person
from maed_jax.inference.track import Track
from maed_jax.inference.video import open_video


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """12 frames: one walks to the right, another stands."""
    places = [[(90 + 3 * i, 120), (250, 125)] for i in range(12)]
    path = tmp_path_factory.mktemp("videos") / "walk.mp4"
    return write_video(path, figure_images(places))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "empty.mp4"
    return write_video(path, figure_images([[]] * 4))


@pytest.fixture
def estimator(monkeypatch):
    """What every checkpoint directory "holds"."""
    estimator = FakeEstimator(mannequin())
    module = types.ModuleType("maed_jax.training.checkpoints")
    module.restore_estimator = lambda directory: estimator
    monkeypatch.setitem(sys.modules, "maed_jax.training.checkpoints", module)
    return estimator


def test_python_api(walk):
    people = predict.predict_video(walk, FakeEstimator(), batch=3)
    assert [person.id for person in people] == [1, 2]
    walking, standing = sorted(people, key=lambda person: person.boxes[0, 0])
    for person in people:
        np.testing.assert_array_equal(person.frames, np.arange(12))
        assert person.detected.sum() >= 10
    assert 20 < np.ptp(walking.boxes[:, 0]) < 40 and np.ptp(standing.boxes[:, 0]) < 4
    np.testing.assert_allclose(walking.boxes[6], [108, 120, 80, 160], atol=20)


def test_command_line(walk, tmp_path, estimator, capsys):
    out = tmp_path / "out"
    run(predict.main, [str(walk), "--checkpoint", "work", "--out", str(out), "--batch", "2"])
    assert sorted(path.name for path in out.iterdir()) == [
        "overlay.mp4", "person_1.npz", "person_2.npz", "results.json",
    ]  # fmt: skip
    content = json.loads((out / "results.json").read_text())
    assert content["people_in_frame"] == [[1, 2]] * 12
    assert content["video"] | {"path": "", "damaged_frames": []} == {
        "path": "", "width": 320, "height": 240, "fps": 10.0, "frames": 12, "announced_frames": 12,
        "damaged_frames": [],
    }  # fmt: skip
    assert content["model"]["body"] == "mannequin" and content["model"]["clip_length"] == 4
    assert content["model"]["checkpoint"].endswith("work")
    assert content["boxes"] == {"detector": "hog"} and content["overlay"] == "overlay.mp4"
    for row in content["people"]:
        assert len(load_person(out / row["file"])) == row["frames"] == 12
    assert len(list(open_video(out / "overlay.mp4").frames())) == 12
    printed = capsys.readouterr()
    assert "2 people in 12 frames" in printed.out and str(out / "results.json") in printed.out
    assert "finding people" in printed.err and "drawing" in printed.err  # progress bars


def test_without_a_video_and_with_boxes(walk, tmp_path, estimator, capsys):
    boxes = tmp_path / "boxes.txt"
    boxes.write_text("".join(f"{i},9,60,40,80,160,1\n" for i in (3, 4, 6)))
    out = tmp_path / "out"
    args = [str(walk), "--checkpoint", "w", "--out", str(out), "--no-video", "--boxes", str(boxes)]
    run(predict.main, args)
    assert sorted(path.name for path in out.iterdir()) == ["person_9.npz", "results.json"]
    content = json.loads((out / "results.json").read_text())
    assert content["people_in_frame"] == [[], [], [9], [9], [9], [9]] + [[]] * 6
    assert content["people"][0]["detected"] == 3 and content["overlay"] is None
    assert content["boxes"] == {"file": str(boxes)}
    assert "8 frames show nobody" in capsys.readouterr().out
    # what was written can be given as a boxes file in its turn
    again = predict.predict_video(walk, estimator, boxes=out / "person_9.npz")
    np.testing.assert_array_equal(again[0].frames, [2, 3, 4, 5])


def test_damaged_frames_get_interpolated_boxes(tmp_path, estimator):
    path = tmp_path / "walk.mov"
    places = [[(100 + 3 * i, 120)] for i in range(12)]
    write_video(path, figure_images(places), codec="mjpeg", pix_fmt="yuvj420p")
    content = predict.predict_to(
        tmp_path / "out", open_video(damage(path, [5, 6])), estimator, overlay=False
    )
    assert content["video"]["damaged_frames"] == [5, 6]
    person = load_person(tmp_path / "out" / "person_1.npz")
    assert len(person) == 12 and not person.detected[5:7].any()
    assert (np.diff(person.boxes[:, 0]) > 0.5).all()


def failing(tmp_path, capsys, args):
    """Runs the command line in an empty directory and returns the line that it ends with."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as error:
        run(predict.main, [str(a) for a in args])
    assert sorted(tmp_path.rglob("*")) == before  # nothing written
    assert "Traceback" not in capsys.readouterr().err
    return error.value.code


def test_a_video_without_people(empty, tmp_path, estimator, capsys):
    args = [empty, "--checkpoint", "w", "--out", tmp_path / "a" / "out"]
    line = failing(tmp_path, capsys, args)
    assert line.startswith(f"maed: no people were found in {empty}") and "--boxes" in line


def test_wrong_boxes(walk, tmp_path, estimator, capsys):
    (tmp_path / "boxes.txt").write_text("99,1,0,0,9,9\n")
    args = [walk, "--checkpoint", "w", "--out", tmp_path / "out"]
    line = failing(tmp_path, capsys, [*args, "--boxes", tmp_path / "boxes.txt"])
    assert "boxes.txt, line 1: the video has 12 frames" in line
    line = failing(tmp_path, capsys, [*args, "--boxes", tmp_path / "none.txt"])
    assert line == f"maed: there is no boxes file {tmp_path / 'none.txt'}"


def test_no_video_and_no_checkpoint(walk, tmp_path, capsys):
    out = tmp_path / "out"
    line = failing(tmp_path, capsys, [tmp_path / "no.mp4", "--checkpoint", "w", "--out", out])
    assert line == f"maed: there is no video {tmp_path / 'no.mp4'}"
    for work in (tmp_path / "none", tmp_path):  # missing; empty
        line = failing(tmp_path, capsys, [walk, "--checkpoint", work, "--out", out])
        assert line.startswith("maed: ") and str(work) in line and "\n" not in line


def test_an_output_that_cannot_be_written(walk, tmp_path, estimator, capsys):
    (tmp_path / "out").write_text("a file")
    line = failing(tmp_path, capsys, [walk, "--checkpoint", "w", "--out", tmp_path / "out"])
    assert line.startswith(f"maed: cannot write to {tmp_path / 'out'}")


@pytest.mark.parametrize("how", ["ctrl-c", "terminate"])
def test_interrupted(walk, tmp_path, estimator, capsys, how):
    def interrupt(clips, **_):
        if how == "ctrl-c":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)

    estimator.__class__ = type(
        "Interrupted", (FakeEstimator,), {"__call__": lambda s, c, **_: interrupt(c)}
    )
    before = signal.getsignal(signal.SIGTERM)
    code = failing(tmp_path, capsys, [walk, "--checkpoint", "w", "--out", tmp_path / "out"])
    assert code == 130 and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "extra", [["--batch", "0"], ["--batch", "x"], ["--focal", "-1"], ["--detector", "none"]]
)
def test_wrong_options(walk, tmp_path, capsys, extra):
    with pytest.raises(SystemExit) as error:
        predict.main([str(walk), "--checkpoint", "w", "--out", str(tmp_path / "o"), *extra])
    assert error.value.code == 2 and extra[0] in capsys.readouterr().err


def test_a_video_cut_short_is_said_to_be(capsys):
    content = {
        "video": {"path": "a.mp4", "frames": 20, "announced_frames": 40, "damaged_frames": [3]},
        "people": [],
        "people_in_frame": [[]] * 20,
        "model": {},
        "overlay": None,
    }
    predict.report(content, "out")
    printed = capsys.readouterr()
    assert "ends after 20 of the 40 frames" in printed.err and "1 frame is damaged" in printed.out


@pytest.mark.parametrize("fps", [30, 15])
def test_smoothing_follows_the_person_and_not_the_noise(fps):
    time = np.arange(0, 4, 1 / fps)
    boxes = np.stack([100 + 20 * np.sin(time), 0 * time + 50, 0 * time + 40, 0 * time + 80], -1)
    track = Track(1, np.arange(len(time)), boxes, np.ones(len(time), bool), np.ones(len(time)))
    smooth = predict.smoothed(track, fps).boxes
    assert smooth.dtype == np.float32 and smooth.shape == boxes.shape
    middle = len(time) // 2
    assert smooth[middle, 0] == pytest.approx(100 + 20 * np.sin(2.0), abs=1.5)
    noisy = Track(1, track.frames, boxes + np.random.default_rng(0).normal(0, 3, boxes.shape),
                  track.detected, track.scores)  # fmt: skip
    jitter = np.diff(predict.smoothed(noisy, fps).boxes[:, 1], n=2).std()
    assert jitter < 0.5


def test_gaps_between_runs_are_not_smoothed_over():
    frames = np.r_[0:20, 100:120]
    boxes = np.tile([[50.0, 50, 40, 80]], (40, 1))
    boxes[20:, 0] = 300
    track = Track(1, frames, boxes, np.ones(40, bool), np.ones(40))
    np.testing.assert_allclose(predict.smoothed(track, 30).boxes, boxes, rtol=1e-5)


def test_unknown_detector(walk):
    with pytest.raises(UserError, match="no detector"):
        predict.predict_video(walk, FakeEstimator(), detector="magic")
