import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.exports.animation import ascending, continuous_quaternions


def test_quaternions_do_not_jump():
    angle = np.linspace(0, 20, 100)  # three turns
    turning = Rotation.from_rotvec(np.stack([angle, 0 * angle, 0 * angle], -1))
    quaternions = continuous_quaternions(turning.as_matrix()[:, None])
    assert ((quaternions[1:] * quaternions[:-1]).sum(-1) > 0.9).all()
    again = Rotation.from_quat(quaternions[:, 0])
    np.testing.assert_allclose((again * turning.inv()).magnitude(), 0, atol=1e-6)


def test_times_ascend_in_single_precision():
    times = ascending(np.array([0, 1, 1, 1, 1 + 1e-12, 2, 3600, 3600]))
    assert (np.diff(times.astype(np.float32)) > 0).all()
    np.testing.assert_allclose(times, [0, 1, 1, 1, 1, 2, 3600, 3600], atol=1e-3)
