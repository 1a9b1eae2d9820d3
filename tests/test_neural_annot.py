import json
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from maed_jax.datasets import neural_annot
from maed_jax.datasets.smpl_labels import root_in_camera
from maed_jax.errors import UserError

QUARTER = math.pi / 2


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def fit(root=(0, 0, 0), **changes):
    return {"pose": [*root, *[0.1] * 69], "shape": [0.5] * 10, "trans": [0, 0, 3]} | changes


def test_human36m_is_in_the_world_of_its_cameras(tmp_path):
    """Upright in a world with z up, in front of a camera that looks along the world's y."""
    root = [QUARTER, 0, 0]  # SMPL's y to the world's z
    fits = neural_annot.read_neural_annot(
        write(tmp_path / "fits.json", {"2": {"1": {"0": fit(), "17": fit(root)}}})
    )
    assert fits.in_world and fits.row == {("2", "1", "0"): 0, ("2", "1", "17"): 1}
    np.testing.assert_allclose(fits.pose[1, :4], [*root, 0.1], rtol=1e-6)
    assert fits.pose.shape == (2, 72) and fits.shape.shape == (2, 10)
    cameras = neural_annot.read_neural_cameras(
        write(
            tmp_path / "camera.json",
            {"1": {"R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "t": [0, 1500, 4000],
                   "f": [1145, 1143], "c": [512, 515]}},
        )
    )  # fmt: skip
    pose = root_in_camera(fits.pose, cameras["1",])
    # Upright in front of a camera whose y points down: half a turn about x, hence facing it.
    np.testing.assert_allclose(np.abs(pose[1, :3]), [math.pi, 0, 0], atol=1e-5)
    np.testing.assert_array_equal(pose[:, 3:], fits.pose[:, 3:])

    # The same person, first turned to the left: now facing along the camera's x.
    turned = (Rotation.from_rotvec(root) * Rotation.from_rotvec([0, QUARTER, 0])).as_rotvec()
    seen = root_in_camera(np.r_[turned, np.zeros(69)], cameras["1",])
    seen = Rotation.from_rotvec(seen[:3])
    np.testing.assert_allclose(seen.apply([0, 0, 1]), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(seen.apply([0, 1, 0]), [0, -1, 0], atol=1e-6)


def test_other_layouts(tmp_path):
    coco = {"476384": {"smpl_param": fit(), "cam_param": {"focal": [1, 1]}}, "12": fit()}
    found = neural_annot.read_neural_annot(write(tmp_path / "coco.json", coco))
    assert found.row == {("476384",): 0, ("12",): 1} and not found.in_world
    older = {"2": {"1": {"0": {"1": fit(), "4": fit()}}}}
    found = neural_annot.read_neural_annot(write(tmp_path / "older.json", older))
    assert found.row == {("2", "1", "0", "1"): 0, ("2", "1", "0", "4"): 1} and not found.in_world
    nested = {"1": {"2": {"0": {"R": np.eye(3).tolist(), "t": [[1], [2], [3000]],
                                "focal": [2, 2], "princpt": [1, 1]}}}}  # fmt: skip
    cameras = neural_annot.read_neural_cameras(write(tmp_path / "c.json", nested))
    np.testing.assert_array_equal(cameras["1", "2", "0"], np.eye(3))


@pytest.mark.parametrize("content, message", [
    ({}, "is not a NeuralAnnot file"),
    ([fit()], "is not a NeuralAnnot file"),
    ({"1": fit(), "2": {"1": {"3": fit()}}}, "is not a NeuralAnnot file"),
    ({"a": {"b": {"c": {"d": {"e": fit()}}}}}, "is not a NeuralAnnot file"),
    ({"7": fit(pose=[0] * 71)}, r"fits.json, 7: pose is not \[72\] finite"),
    ({"7": fit(shape=[float("nan")] * 10)}, r"fits.json, 7: shape is not \[10\] finite"),
    ({"7": {"pose": [0] * 72}}, "fits.json, 7: shape is missing"),
])  # fmt: skip
def test_wrong_files(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        neural_annot.read_neural_annot(write(tmp_path / "fits.json", content))


def test_wrong_cameras(tmp_path):
    with pytest.raises(UserError, match="contains no camera"):
        neural_annot.read_neural_cameras(write(tmp_path / "c.json", {"1": {"t": [0, 0, 0]}}))
    with pytest.raises(UserError, match=r"c.json, camera 1: R is not \[3, 3\]"):
        neural_annot.read_neural_cameras(write(tmp_path / "c.json", {"1": {"R": [1, 0, 0]}}))
