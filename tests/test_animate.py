import json

import numpy as np
import pytest
from animation_readers import Glb
from small_videos import FakeEstimator, figure_images, write_video

from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.cli import run
from maed_jax.errors import UserError
from maed_jax.exports.animate import animate_results, main
from maed_jax.inference.predict import predict_to
from maed_jax.inference.results import load_person
from maed_jax.inference.video import open_video


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    images = figure_images([[(90 + 3 * i, 120)] for i in range(4)])
    video = open_video(write_video(folder / "walk.mp4", images))
    out = folder / "out"
    predict_to(out, video, FakeEstimator(mannequin()), overlay=False, exports=("bvh",))
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


def test_mistakes(results, tmp_path):
    with pytest.raises(UserError, match="holds no results.json"):
        animate_results(tmp_path, ("glb",))
    with pytest.raises(UserError, match="--body"):
        animate_results(results, ("glb",))
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UserError, match="cannot be read as results"):
        animate_results(tmp_path, ("glb",))
    with pytest.raises(SystemExit, match="no format 'fbx'"):
        run(main, [str(results), "--export", "fbx"])
