import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.exports.animation import ascending, continuous_quaternions, strongest_weights


def test_quaternions_do_not_jump():
    angle = np.linspace(0, 20, 100)  # three times round
    turning = Rotation.from_rotvec(np.stack([angle, 0 * angle, 0 * angle], -1))
    quaternions = continuous_quaternions(turning.as_matrix()[:, None])
    assert ((quaternions[1:] * quaternions[:-1]).sum(-1) > 0.9).all()
    again = Rotation.from_quat(quaternions[:, 0])
    np.testing.assert_allclose((again * turning.inv()).magnitude(), 0, atol=1e-6)


def test_times_ascend_in_single_precision():
    times = ascending(np.array([0, 1, 1, 1, 1 + 1e-12, 2, 3600, 3600]))
    assert (np.diff(times.astype(np.float32)) > 0).all()
    np.testing.assert_allclose(times, [0, 1, 1, 1, 1, 2, 3600, 3600], atol=1e-3)


def test_the_strongest_joints_stay():
    weights = np.zeros((2, 24))
    weights[0, [3, 5, 7, 9, 11]] = [0.1, 0.3, 0.2, 0.35, 0.05]
    weights[1, 8] = 1
    joints, strength = strongest_weights(weights)
    assert joints[0].tolist() == [9, 5, 7, 3] and joints[1].tolist() == [8, 0, 0, 0]
    np.testing.assert_allclose(strength[0] * 0.95, [0.35, 0.3, 0.2, 0.1], rtol=1e-5)
    np.testing.assert_allclose(strength[1], [1, 0, 0, 0])
