import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from animation_readers import Glb, read_bvh
from small_videos import FakeEstimator, figure_images, write_video

from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.cli import run
from maed_jax.errors import UserError
from maed_jax.exports.animate import animate_results, main
from maed_jax.exports.people import FORMATS, export_people
from maed_jax.inference.results import load_person, load_results, save_person
from maed_jax.inference.unfinished import unfinished
from maed_jax.inference.video import open_video
from maed_jax.prediction.predict import Options, predict_to


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    images = figure_images([[(90 + 3 * i, 120)] for i in range(4)])
    video = open_video(write_video(folder / "walk.mp4", images))
    out = folder / "out"
    predict_to(out, video, FakeEstimator(mannequin()), Options(overlay=False, exports=("bvh",)))
    return out


def test_exports_of_a_prediction(results, capsys):
    run(main, [str(results), "--body", "mannequin", "--export", "glb"])
    assert str(results / "people.glb") in capsys.readouterr().out
    content = json.loads((results / "results.json").read_text())
    assert content["exports"] == ["person_1.bvh", "person_1.glb", "people.glb"]
    assert "people.glb" in (results / "index.html").read_text()
    assert all((results / name).exists() for name in content["exports"])
    assert not (results / ".unfinished").exists()
    person, glb = load_person(results / "person_1.npz"), Glb(results / "person_1.glb")
    there = person.joints_3d + person.translation[:, None]
    for i, time in enumerate(glb.key_times()):
        places = glb.worlds(time, JOINT_NAMES)[:, :3, 3] * [1, -1, -1]
        assert np.abs(places - there[i]).max() < 1e-4 * person.translation[i, 2]


def test_the_mannequin_needs_no_checkpoint(results, tmp_path):
    out = shutil.copytree(results, tmp_path / "out")
    content = json.loads((out / "results.json").read_text())
    content["model"] |= {"body": "mannequin", "checkpoint": "/nowhere"}
    (out / "results.json").write_text(json.dumps(content))
    assert "people.glb" in animate_results(out, ("glb",))


def test_exports_again_take_the_place_of_the_first(results):
    for _ in range(2):
        run(main, [str(results), "--body", "mannequin", "--export", "obj"])
    content = json.loads((results / "results.json").read_text())
    assert content["exports"].count("person_1_obj") == 1
    assert len(list((results / "person_1_obj").iterdir())) == 4
    assert not (results / ".unfinished").exists()


def test_frames_without_times_last_as_long_as_the_frame_rate_says(results, tmp_path):
    out = shutil.copytree(results, tmp_path / "out")
    person = load_person(out / "person_1.npz")
    save_person(out / "person_1.npz", dataclasses.replace(person, times=0 * person.times))
    animate_results(out, ("glb", "bvh"), "mannequin")
    np.testing.assert_allclose(Glb(out / "person_1.glb").key_times(), np.arange(4) / 10, atol=1e-6)
    assert read_bvh(out / "person_1.bvh")[2] == pytest.approx(1 / 10)


def test_without_people_nothing_is_written(tmp_path):
    assert export_people(FORMATS, [], mannequin(), tmp_path) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stopped_at", range(3))
def test_results_outlive_an_interruption(results, monkeypatch, stopped_at):
    moved, replace = [], Path.replace

    def stop(path, target):
        moved.append(path)
        if len(moved) > stopped_at and target.parent == results:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        animate_results(results, ("glb",), "mannequin")
    monkeypatch.undo()
    content, people = load_results(results)
    assert len(people) == 1 and all((results / name).exists() for name in content["exports"])


def test_an_unfinished_prediction_stays(results):
    with pytest.raises(KeyboardInterrupt), unfinished(results, {"video": "walk"}) as work:
        work.array("answers", (3,))[:] = 5
        raise KeyboardInterrupt
    animate_results(results, ("bvh",), "mannequin")
    with unfinished(results, {"video": "walk"}) as work:
        assert (work.array("answers", (3,)) == 5).all()
    assert not (results / ".unfinished").exists()


def test_mistakes(results, tmp_path):
    with pytest.raises(UserError, match="has no results.json"):
        animate_results(tmp_path, ("glb",))
    with pytest.raises(UserError, match="--body"):
        animate_results(results, ("glb",))
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UserError, match="cannot be read as results"):
        animate_results(tmp_path, ("glb",))
    with pytest.raises(SystemExit, match="no export format 'fbx'"):
        run(main, [str(results), "--export", "fbx"])
    with pytest.raises(SystemExit, match="--export names no format"):
        run(main, [str(results), "--export", ","])
