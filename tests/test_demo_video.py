"""The demo video: playable, consistent with its ground truth, its people detected."""

import numpy as np
import pytest

pytest.importorskip("pyvista")
from maed_jax.data.pixels import project
from maed_jax.datasets.mannequins import demo_video
from maed_jax.errors import UserError
from maed_jax.inference.detections import iou
from maed_jax.inference.hog import HogDetector
from maed_jax.inference.video import open_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Path of the video and its ground truth."""
    path = tmp_path_factory.mktemp("video") / "walk.mp4"
    with np.load(demo_video.write_video(path, seed=0, frames=16)) as file:
        return path, dict(file)


def test_truth_agrees_with_itself(video):
    _, truth = video
    assert truth["pose"].shape == (2, 16, 72) and truth["shape"].shape == (2, 10)
    flat = project(truth["keypoints_3d"], truth["intrinsics"])
    np.testing.assert_allclose(flat, truth["keypoints_2d"], atol=1e-2)
    x, y, w, h = np.moveaxis(truth["box"], -1, 0)
    points = truth["keypoints_2d"]
    assert (points[..., 0] > (x - w / 2)[..., None] - 0.1).all()
    assert (points[..., 1] < (y + h / 2)[..., None] + 0.1).all()
    assert (points > 0).all() and (points < (640, 480)).all(), "everyone stays in the image"


def test_people_cross_the_image_in_both_directions(video):
    _, truth = video
    first, second = truth["box"][:, -1, 0] - truth["box"][:, 0, 0]
    assert first > 25 and second < -15


def test_the_detector_finds_them(video):
    path, truth = video
    detector, found, frames = HogDetector(), 0, 0
    for frame in open_video(path).frames():
        if frame.index % 4 == 0:
            detections = detector(frame.image())
            sure = detections.boxes[detections.scores > detector.sure_score]
            box = truth["box"][0, frame.index]
            found += any(np.max(iou(box[None], other[None])) > 0.35 for other in sure)
            frames += 1
    assert frames == 4 and found >= 3


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="2 to 3000 frames"):
        demo_video.write_video(tmp_path / "a.mp4", frames=1)
    with pytest.raises(UserError, match="no folder"):
        demo_video.write_video(tmp_path / "nowhere" / "a.mp4")
    assert list(tmp_path.iterdir()) == []
