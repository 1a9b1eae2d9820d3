"""datasets/spin_frames.py: a fit is matched to its own frame or to none."""

import numpy as np
import pytest

from maed_jax.datasets.spin_frames import SpinFrames
from maed_jax.errors import UserError


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"part": rng.uniform(0, 500, (4, 24, 3)), "has_smpl": np.array([1, 1, 0, 1]),
              "pose": np.arange(4)[:, None] + np.zeros((4, 72)), "shape": np.ones((4, 10)),
              "imgname": ["a/0.jpg", "a/1.jpg", "a/2.jpg", "other/0.jpg"]}  # fmt: skip
    np.savez(tmp_path / "rows.npz", **arrays)
    return tmp_path / "rows.npz", arrays


def key(name):
    folder, _, file = name.partition("/")
    return int(file[0]) if folder == "a" else None


def test_rows_by_name_and_keypoints(rows):
    path, arrays = rows
    found = SpinFrames(str(path), None, key)
    keypoints = np.zeros((4, 49, 3))
    keypoints[:, 25:] = arrays["part"]
    pose, shape = found.find(1, keypoints[1])
    assert (pose == 1).all() and (shape == 1).all()
    assert found.find(1, keypoints[1] + 4) is not None
    assert found.find(1, keypoints[0]) is None, "of another frame"
    assert found.find(1, keypoints[1] * np.nan) is None
    assert found.find(2, keypoints[2]) is None, "SPIN does not trust it"
    assert found.find(3, keypoints[3]) is None


def test_fits_in_a_file_of_their_own(rows, tmp_path):
    path, arrays = rows
    np.savez(tmp_path / "fits.npz", pose=arrays["pose"] + 5, shape=arrays["shape"])
    found = SpinFrames(str(path), str(tmp_path / "fits.npz"), key)
    keypoints = np.zeros((49, 3))
    keypoints[25:] = arrays["part"][0]
    assert (found.find(0, keypoints)[0] == 5).all()


def test_rows_of_another_dataset(rows):
    with pytest.raises(UserError, match="rows.npz has no fits to images with this dataset's"):
        SpinFrames(str(rows[0]), None, lambda name: None)
