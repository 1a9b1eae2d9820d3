"""Rule-based motions: valid, smooth, varied, different each time, on their feet."""

import numpy as np
import pytest
from posed_joints import joint_positions

from maed_jax.body.mannequin import mannequin
from maed_jax.datasets.mannequins import motion

REST = np.asarray(mannequin().rest_joints, np.float64)


def positions(made):
    return joint_positions(made.rotations, REST)


@pytest.mark.parametrize("kind", motion.MOTIONS)
def test_rotations_are_rotations_and_smooth(kind):
    for seed in range(4):
        made = motion.make(kind, np.random.default_rng(seed), 128)
        R = made.rotations
        assert R.shape == (128, 24, 3, 3) and made.hop.shape == (128,) and (made.hop >= 0).all()
        np.testing.assert_allclose(R @ R.swapaxes(-1, -2) - np.eye(3), 0, atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-9)
        where = positions(made)
        speed = np.linalg.norm(np.diff(where, axis=0), axis=-1) * 30
        assert speed.max() < 16, "not faster than a sprinter's hand"
        jump = np.linalg.norm(np.diff(where, 2, axis=0), axis=-1)
        assert jump.max() < 0.12, "no jumps between frames, metres"


def test_the_same_seed_gives_the_same_motion_and_another_one_another():
    first, again, other = (motion.make("dancing", np.random.default_rng(s), 40) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.rotations, again.rotations)
    assert np.abs(first.rotations - other.rotations).max() > 0.5


def test_faster_sampling_shows_the_same_motion():
    slow = motion.make("walking", np.random.default_rng(3), 32, fps=15)
    fast = motion.make("walking", np.random.default_rng(3), 63, fps=30)
    np.testing.assert_allclose(slow.rotations, fast.rotations[::2], atol=1e-9)


def test_heading_is_kept():
    for seed in range(5):
        made = motion.make("walking", np.random.default_rng(seed), 96, heading=90)
        ahead = made.rotations[:, 0] @ [0, 0, 1]
        assert ahead[:, 0].mean() > 0.95


def test_left_and_right_are_alike_in_distribution():
    raised = [
        positions(motion.make(kind, np.random.default_rng(seed), 16))[:, [20, 21], 1].mean(0)
        for kind in ("walking", "reaching", "extreme")
        for seed in range(40)
    ]
    left, right = np.mean(raised, axis=0)
    assert abs(left - right) < 0.08


def test_poses_are_varied():
    """The mean pose, rotated and scaled to fit, is 10 cm off: there is something to learn."""
    kinds = ("walking", "running", "sitting", "reaching", "dancing", "extreme")
    rows = []
    for kind in kinds:
        for seed in range(12):
            made = motion.make(kind, np.random.default_rng(seed), 128)
            made.rotations[:, 0] = np.eye(3)
            rows.append(positions(made)[::32])
    where = np.concatenate(rows)[:, [1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21]]
    mean = where.mean(0)
    assert np.mean([_fitted_error(mean, pose) for pose in where]) > 0.10


def _fitted_error(source, target):
    source, target = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(source.T @ target)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * sign).sum() / (source**2).sum()
    return np.linalg.norm(scale * source @ (u * sign) @ vt - target, axis=-1).mean()
