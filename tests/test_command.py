import json
import os
import signal
import sys
import types
from pathlib import Path

import cv2
import pytest
from faults import full_disk
from small_videos import FakeEstimator, figure_images, write_video

from maed_jax.body.mannequin import mannequin
from maed_jax.cli import run
from maed_jax.errors import UserError
from maed_jax.inference.results import load_person
from maed_jax.inference.video import open_video
from maed_jax.prediction import command


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """12 frames: one person walks to the right, another stands."""
    places = [[(90 + 3 * i, 120), (250, 125)] for i in range(12)]
    path = tmp_path_factory.mktemp("videos") / "walk.mp4"
    return write_video(path, figure_images(places))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "empty.mp4"
    return write_video(path, figure_images([[]] * 4))


@pytest.fixture
def estimator(monkeypatch):
    """The estimator that every checkpoint directory yields."""
    estimator = FakeEstimator(mannequin())
    module = types.ModuleType("maed_jax.runs.restore")

    def restore(directory, step, *, body):
        estimator.body_asked_for = body
        return [estimator][step or 0]

    module.restore_estimator = restore
    monkeypatch.setitem(sys.modules, "maed_jax.runs.restore", module)
    return estimator


def test_command_line(walk, tmp_path, estimator, capsys):
    out = tmp_path / "out"
    run(command.main, [str(walk), "--checkpoint", "work", "--out", str(out), "--batch", "2"])
    assert sorted(path.name for path in out.iterdir()) == [
        "index.html", "overlay.mp4", "person_1.npz", "person_2.npz", "results.json",
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
    args = [str(walk), "--checkpoint", "w", "--out", str(out), "--no_video", "--boxes", str(boxes)]
    run(command.main, args)
    assert sorted(path.name for path in out.iterdir()) == [
        "index.html", "person_9.npz", "results.json",
    ]  # fmt: skip
    content = json.loads((out / "results.json").read_text())
    assert content["people_in_frame"] == [[], [], [9], [9], [9], [9]] + [[]] * 6
    assert content["people"][0]["detected"] == 3 and content["overlay"] is None
    assert content["boxes"] == {"file": str(boxes)}
    assert "nobody in 8 frames\n" in capsys.readouterr().out
    command.report(content | {"boxes": {"detector": "hog"}}, out)
    assert "nobody in 8 frames; a better detector" in capsys.readouterr().out


def failing(tmp_path, capsys, args):
    """Runs the command line in an empty directory and returns its last line."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as error:
        run(command.main, [str(a) for a in args])
    assert sorted(tmp_path.rglob("*")) == before  # nothing written
    assert "Traceback" not in capsys.readouterr().err
    return error.value.code


def test_a_video_without_people(empty, tmp_path, estimator, capsys):
    args = [empty, "--checkpoint", "w", "--out", tmp_path / "a" / "out"]
    line = failing(tmp_path, capsys, args)
    assert line.startswith(f"maed: no people were found in {empty}")
    assert "--detector" in line and "--boxes" in line


def test_wrong_boxes(walk, tmp_path, estimator, capsys):
    (tmp_path / "boxes.txt").write_text("99,1,0,0,9,9\n")
    args = [walk, "--checkpoint", "w", "--out", tmp_path / "out"]
    line = failing(tmp_path, capsys, [*args, "--boxes", tmp_path / "boxes.txt"])
    assert "boxes.txt, line 1: the video has 12 frames" in line
    line = failing(tmp_path, capsys, [*args, "--boxes", tmp_path / "none.txt"])
    assert line == f"maed: there is no boxes file {tmp_path / 'none.txt'}"


def test_boxes_need_no_detector(walk, tmp_path, estimator, capsys, monkeypatch):
    (tmp_path / "boxes.txt").write_text("1,9,60,40,80,160,1\n")
    args = [walk, "--checkpoint", "w", "--out", tmp_path / "out", "--no_video"]
    args += ["--boxes", tmp_path / "boxes.txt"]
    for name in ("hog", "yolox.onnx"):
        line = failing(tmp_path, capsys, [*args, "--detector", name])
        assert line.startswith("maed: --boxes replaces the detector")
    monkeypatch.delattr(cv2, "HOGDescriptor")  # as in OpenCV 5
    line = failing(tmp_path, capsys, args[:-2])
    assert line.startswith("maed: this OpenCV has no HOG person detector")
    run(command.main, [str(a) for a in args])
    assert (tmp_path / "out" / "person_9.npz").exists()


def test_a_step_and_a_body_are_asked_for(walk, tmp_path, estimator):
    args = [str(walk), "--checkpoint", "work", "--out", str(tmp_path / "out")]
    with pytest.raises(IndexError):  # from the fixture, which only has the latest
        command.main([*args, "--step", "7", "--body", "smpl"])
    assert estimator.body_asked_for == "smpl"


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


def test_a_full_disk(walk, tmp_path, estimator, capsys):
    args = [str(walk), "--checkpoint", "w", "--out", str(tmp_path / "out"), "--no_video"]
    with full_disk(5000), pytest.raises(SystemExit) as error:
        run(command.main, args)
    assert error.value.code == f"maed: cannot write to {tmp_path / 'out'}: file too large"
    assert "Traceback" not in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".unfinished"]
    run(command.main, args)
    assert "resuming from what an earlier run left" in capsys.readouterr().err
    assert not (tmp_path / "out" / ".unfinished").exists()


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
    args = [str(walk), "--checkpoint", "w", "--out", str(tmp_path / "out"), "--no_video"]
    with pytest.raises(SystemExit) as error:
        run(command.main, args)
    assert error.value.code == 130 and signal.getsignal(signal.SIGTERM) is before
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".unfinished"]
    assert "the same command resumes" in capsys.readouterr().err
    estimator.__class__ = FakeEstimator
    run(command.main, args)
    printed = capsys.readouterr()
    assert "finding people" not in printed.err and "2 people in 12 frames" in printed.out
    assert "resuming from what an earlier run left" in printed.err
    assert not (tmp_path / "out" / ".unfinished").exists()


@pytest.mark.parametrize(
    "extra",
    [
        ["--batch", "0"],
        ["--batch", "x"],
        ["--focal", "-1"],
        ["--export", ","],
        *(["--fps", rate] for rate in ("0", "0.00001", "1e7", "x")),
    ],
)
def test_wrong_options(walk, tmp_path, extra):
    with pytest.raises(UserError, match=extra[0]):
        command.main([str(walk), "--checkpoint", "w", "--out", str(tmp_path / "o"), *extra])


def test_an_unknown_detector_is_reported_before_anything_is_loaded(walk, tmp_path, capsys):
    args = [walk, "--checkpoint", "nowhere", "--out", tmp_path / "out", "--detector", "yolo"]
    line = failing(tmp_path, capsys, args)
    assert line == "maed: there is no detector 'yolo'; choose hog or an .onnx file"


def test_a_side_view_without_the_video_that_it_is_part_of(walk, tmp_path, capsys):
    args = [walk, "--checkpoint", "w", "--out", tmp_path / "out", "--side_view", "--no_video"]
    line = failing(tmp_path, capsys, args)
    assert line.startswith("maed: --side_view is part of the overlay")
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--help"])
    assert "videos or plots" in " ".join(capsys.readouterr().out.split())


def test_several_inputs_each_have_their_own_results(walk, empty, tmp_path, estimator, capsys):
    still = tmp_path / "walk.jpg"
    cv2.imwrite(str(still), figure_images([[(90, 120)]])[0])
    zero = tmp_path / "zero.mp4"
    zero.touch()
    out, inputs = tmp_path / "out", [zero, walk, empty, still]
    with pytest.raises(SystemExit, match="2 of 4 inputs failed"):
        run(command.main, [*map(str, inputs), "--checkpoint", "w", "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == ["walk", "walk_2"]
    assert {path.name for path in (out / "walk_2").iterdir()} == {
        "index.html", "overlay.jpg", "person_1.npz", "results.json",
    }  # fmt: skip
    assert cv2.imread(str(out / "walk_2" / "overlay.jpg")).shape == (240, 320, 3)
    printed = capsys.readouterr()
    assert f"maed: {zero} is empty" in printed.err and "no people were found" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
def test_names_that_are_not_unicode(tmp_path, estimator, capsys):
    _, data = cv2.imencode(".png", figure_images([[(90, 120)]])[0])
    inputs = [tmp_path / os.fsdecode(name) for name in (b"caf\xe9.png", b"\xff.png")]
    for path in inputs:
        path.write_bytes(data)
    out = tmp_path / "out"
    args = ["--checkpoint", "w", "--out", str(out), "--export", "glb,bvh,obj"]
    run(command.main, [*map(str, inputs), *args])
    for path in inputs:
        assert (out / path.stem / "overlay.jpg").stat().st_size > 1000
        content = json.loads((out / path.stem / "results.json").read_text())
        assert content["video"]["path"] == str(path)
    assert "caf?.png" in (out / inputs[0].stem / "index.html").read_text(encoding="utf-8")
    assert f"results: {out}/caf?/results.json" in capsys.readouterr().out


def test_a_folder_of_frames_and_exports(tmp_path, estimator, capsys):
    for i, image in enumerate(figure_images([[(90 + 3 * i, 120)] for i in range(4)])):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    out = tmp_path / "out"
    args = [str(tmp_path), "--checkpoint", "w", "--out", str(out), "--no_video", "--fps", "8"]
    run(command.main, [*args, "--export", "glb,bvh,obj", "--smooth"])
    content = json.loads((out / "results.json").read_text())
    assert content["exports"] == ["person_1.glb", "person_1.bvh", "person_1_obj", "people.glb"]
    assert all((out / name).exists() for name in content["exports"])
    assert content["video"]["fps"] == 8 and content["smoothed"] and content["one_shape"]
    assert len(list((out / "person_1_obj").iterdir())) == 4
    with pytest.raises(SystemExit, match="no export format 'fbx'"):
        run(command.main, [*args, "--export", "glb,fbx"])
    with pytest.raises(SystemExit, match="--boxes is for a single video"):
        run(command.main, [str(tmp_path), *args, "--boxes", "a.txt"])


def test_names_of_results(tmp_path):
    assert command.names_of(["a/x.mp4", "b/x.mp4", "x_2.mov", "d/"]) == ["x", "x_2", "x_2_2", "d"]
    (tmp_path / "take.2").mkdir()
    (tmp_path / "dance.mp4").symlink_to("9f86d081")
    inputs = [str(tmp_path / name) for name in ("take.2", "dance.mp4")]
    assert command.names_of(inputs) == ["take.2", "dance"]
    assert command.names_of(["a" * 300 + ".mp4"]) == ["a" * 300]  # its own error comes later


def test_a_video_cut_short_is_said_to_be(capsys):
    content = {
        "video": {"path": "a.mp4", "frames": 20, "announced_frames": 40, "damaged_frames": [3]},
        "people": [],
        "people_in_frame": [[]] * 20,
        "model": {},
        "boxes": {"file": "boxes.txt"},
        "overlay": None,
        "exports": [],
        "attention": ["attention_1.npz"],
    }
    command.report(content, Path("out"))
    printed = capsys.readouterr()
    assert "ends after 20 of the 40 frames" in printed.err and "1 frame is damaged\n" in printed.out
    assert "attention: out/attention_1.npz\n" in printed.out
