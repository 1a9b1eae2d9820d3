"""The mean pose: the rotation nearest to all rotations of a joint."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError
from maed_jax.evaluation.baseline import mean_pose, nearest_rotation


def records(rotvecs, has_smpl=True):
    rng = np.random.default_rng(0)
    return [
        {"pose": np.tile(r, 24), "shape": rng.normal(size=10), "has_smpl": has_smpl}
        for r in rotvecs
    ]


def test_mean_about_one_axis_is_the_mean_angle():
    rotation, shape = mean_pose(records([[0, 0, 0.2], [0, 0, 0.6]]) + records([[9, 9, 9]], False))
    assert rotation.shape == (24, 3, 3) and shape.shape == (10,)
    np.testing.assert_allclose(
        Rotation.from_matrix(rotation).as_rotvec(), np.tile([0, 0, 0.4], (24, 1)), atol=1e-6
    )


def test_mean_minimises_the_squared_chordal_distance():
    rng = np.random.default_rng(1)
    rotvecs = rng.normal(size=(20, 3))
    mean = mean_pose(records(rotvecs))[0][0]
    all_of_them = Rotation.from_rotvec(rotvecs).as_matrix()

    def cost(matrix):
        return ((all_of_them - matrix) ** 2).sum()

    for nudge in rng.normal(scale=0.05, size=(50, 3)):
        assert cost(mean) <= cost(Rotation.from_rotvec(nudge).as_matrix() @ mean)


def test_nearest_rotation_never_mirrors():
    rng = np.random.default_rng(2)
    rotations = nearest_rotation(rng.normal(size=(200, 3, 3)))
    np.testing.assert_allclose(np.linalg.det(rotations), 1, rtol=1e-6)
    eye = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.swapaxes(-1, -2), eye, atol=1e-9)


def test_numbers_that_are_not_finite_are_no_labels():
    good = records([[0, 0, 0.2], [0, 0, 0.6]])
    pose, shape = records([[1.0, 0, 0]] * 2)
    pose["pose"][5], shape["shape"][3] = np.nan, np.inf
    for found, wanted in zip(mean_pose([pose, *good, shape]), mean_pose(good)):
        np.testing.assert_array_equal(found, wanted)


def test_no_labels():
    with pytest.raises(UserError, match="no pose to average"):
        mean_pose(records([[0, 0, 1]], has_smpl=False))
