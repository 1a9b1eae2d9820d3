"""Anatomical angles have the stated meaning, and feet stay on the floor."""

import numpy as np
import pytest
from posed_joints import joint_positions

from maed_jax.body import skeleton
from maed_jax.body.mannequin import mannequin
from maed_jax.datasets.mannequins.pose import (
    INDEX,
    SIDE_LIMITS,
    TRUNK_LIMITS,
    limited,
    mirrored,
    plant,
    pose,
    rotations,
)

JOINT = {name: i for i, name in enumerate(skeleton.JOINT_NAMES)}


@pytest.fixture(scope="module")
def rest():
    return np.asarray(mannequin().rest_joints, np.float64)


def joints(rest, **angles):
    """Returns the joints [24 3] of one pose; arguments as for `pose`."""
    return joint_positions(rotations(pose(**angles)[None]), rest)[0]


@pytest.mark.parametrize(
    "angles, start, end, direction",
    [  # the person faces +z, +x is to the left
        ({}, 16, 18, (0.17, -0.98, 0)),  # arms hang
        ({}, 17, 19, (-0.17, -0.98, 0)),
        (dict(arm_flexion=90), 16, 18, (0.17, 0, 0.98)),
        (dict(arm_abduction=80), 17, 19, (-1, 0, 0)),
        (dict(elbow=90), 18, 20, (0, 0, 1)),
        (dict(arm_flexion=90, elbow=90), 19, 21, (0, 1, 0)),
        (dict(arm_abduction=80, elbow=90, arm_rotation=90), 18, 20, (0, 1, 0)),
        (dict(hip_flexion=90), 1, 4, (0, 0, 1)),
        (dict(hip_abduction=90), 2, 5, (-1, 0, 0)),
        (dict(knee=90), 4, 7, (0, 0, -1)),
        (dict(ankle=45), 7, 10, (0, 0.45, 0.9)),
        (dict(spine_flexion=90), 9, 12, (0, 0, 1)),
        (dict(pitch=90), 9, 12, (0, 0, 1)),
        (dict(roll=90), 9, 12, (-1, 0, 0)),
        (dict(spine_bend=90), 9, 12, (-1, 0, 0)),
        (dict(yaw=90, hip_flexion=90), 1, 4, (1, 0, 0)),
        (dict(spine_twist=90, arm_flexion=90), 16, 18, (1, 0, 0)),
    ],
)
def test_angles_turn_the_right_bones_the_right_way(rest, angles, start, end, direction):
    where = joints(rest, **angles)
    bone = (where[end] - where[start]) / np.linalg.norm(where[end] - where[start])
    assert bone @ direction > 0.94 * np.linalg.norm(direction)


def test_mirrored_angles_are_the_mirror_image(rest):
    rng = np.random.default_rng(0)
    angles = rng.uniform(-60, 60, (5, len(INDEX)))
    symmetric = (rest + rest[skeleton.JOINT_FLIP] * [-1, 1, 1]) / 2
    one = joint_positions(rotations(angles), symmetric)
    other = joint_positions(rotations(mirrored(angles)), symmetric)
    np.testing.assert_allclose(other, one[:, skeleton.JOINT_FLIP] * [-1, 1, 1], atol=1e-9)
    np.testing.assert_array_equal(mirrored(mirrored(angles)), angles)


def test_limits_hold_and_leave_the_middle_alone():
    table = {**TRUNK_LIMITS, **{f"{k}_{s}": v for s in "lr" for k, v in SIDE_LIMITS.items()}}
    assert list(table) == list(INDEX)
    low, high = np.array(list(table.values())).T
    far = np.linspace(-400, 400, 4001)[:, None] + np.zeros(len(INDEX))
    bent = limited(far)
    assert (bent >= low - 1e-9).all() and (bent <= high + 1e-9).all()
    assert (np.diff(bent, axis=0) >= 0).all() and np.abs(np.diff(bent, axis=0)).max() < 0.2 + 1e-6
    low, high = np.maximum(low, -40), np.minimum(high, 40)
    middle = (0.4 * low + 0.6 * high)[None]
    np.testing.assert_allclose(limited(middle), middle)


def test_planted_feet_stand_still_while_the_body_moves():
    # The root moves forward, up and down over two alternating feet.
    t = np.arange(90) / 30
    root = np.stack([0.1 * np.sin(t), 0.9 + 0.02 * np.sin(9 * t), 1.2 * t], -1)
    lift = np.maximum(np.sin(np.pi * t[:, None] + [0, np.pi]), 0) * 0.3
    stand = np.round(t[:, None] + [0, 1], 0) * 0  # positions in the air do not matter
    feet = np.stack([np.stack([stand[:, i] + i * 0.2, lift[:, i], 0 * t], -1) for i in (0, 1)], 1)
    relative = feet - root[:, None]
    found = plant(relative, relative[..., 1].min(1), np.zeros(len(t)))
    np.testing.assert_allclose(found[:, 1], root[:, 1], atol=5e-3)
    np.testing.assert_allclose(
        found[-1, [0, 2]] - found[0, [0, 2]], (root[-1] - root[0])[[0, 2]], atol=0.05
    )
    carried = plant(relative, relative[..., 1].min(1), np.zeros(len(t)), support=lift < 0.01)
    np.testing.assert_allclose(carried[:, 2] - carried[0, 2], root[:, 2], atol=0.08)
