"""Poses as anatomical angles, and their conversion to joint rotations and a root on the floor.

A pose is a row of `ANGLES`, in degrees: all zero is standing upright with hanging arms, thumbs
forward. Every angle has the same meaning on the left and right, so mirroring swaps columns.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

# Limits, degrees. Positive pitch leans the trunk forward, roll leans it right, yaw turns it left.
TRUNK_LIMITS = {
    "yaw": (-np.inf, np.inf),
    "pitch": (-np.inf, np.inf),
    "roll": (-np.inf, np.inf),
    "spine_flexion": (-30, 75),
    "spine_bend": (-35, 35),
    "spine_twist": (-50, 50),
    "neck_flexion": (-50, 45),
    "neck_bend": (-35, 35),
    "neck_twist": (-70, 70),
}
SIDE_LIMITS = {
    "hip_flexion": (-25, 125),
    "hip_abduction": (-20, 60),
    "hip_rotation": (-35, 50),  # toes outward
    "knee": (0, 145),
    "ankle": (-45, 25),  # toes up
    "collar_up": (-8, 30),
    "collar_forward": (-15, 25),
    "arm_flexion": (-50, 180),  # of the hanging arm, forward and up
    "arm_abduction": (0, 160),  # sideways and up
    "arm_rotation": (-80, 90),  # about its own axis; raises the forearm of an arm held sideways
    "elbow": (0, 145),
    "forearm": (-70, 70),
    "wrist": (-50, 50),
}
ANGLES = (*TRUNK_LIMITS, *(f"{name}_{side}" for side in "lr" for name in SIDE_LIMITS))
INDEX = {name: i for i, name in enumerate(ANGLES)}
_ODD = tuple(  # change sign when mirrored
    INDEX[name] for name in ("yaw", "roll", "spine_bend", "spine_twist", "neck_bend", "neck_twist")
)
_LEFT = slice(len(TRUNK_LIMITS), len(TRUNK_LIMITS) + len(SIDE_LIMITS))
_RIGHT = slice(_LEFT.stop, len(ANGLES))
_LIMITS = np.array([*TRUNK_LIMITS.values(), *SIDE_LIMITS.values(), *SIDE_LIMITS.values()])


def pose(**angles: float) -> np.ndarray:
    """Returns one row of angles, degrees. A limb's name without `_l` or `_r` sets both sides."""
    row = np.zeros(len(ANGLES))
    for name, value in angles.items():
        for full in (name,) if name in INDEX else (f"{name}_l", f"{name}_r"):
            row[INDEX[full]] = value
    return row


def mirrored(angles: np.ndarray) -> np.ndarray:
    """Mirrors angles [... angles] left to right."""
    out = angles.copy()
    out[..., _LEFT], out[..., _RIGHT] = angles[..., _RIGHT], angles[..., _LEFT]
    out[..., _ODD] *= -1
    return out


def limited(angles: np.ndarray) -> np.ndarray:
    """Limits angles to the joints' ranges, with a smooth transition near the limits."""
    low, high = _LIMITS.T
    free = ~np.isfinite(low)
    low, high = np.where(free, -1, low), np.where(free, 1, high)
    middle, half = (low + high) / 2, (high - low) / 2
    unit = (angles - middle) / half
    knee = 0.85
    over = np.maximum(np.abs(unit) - knee, 0)
    bent = np.sign(unit) * (knee + (1 - knee) * np.tanh(over / (1 - knee)))
    return np.where(free, angles, middle + half * np.where(over > 0, bent, unit))


def _turn(axes: str, *degrees: np.ndarray) -> Rotation:
    """Composes rotations about the axes of the body at rest: `_turn("YX", a, b)` = Ry(a) Rx(b)."""
    return Rotation.from_euler(axes, np.stack(np.broadcast_arrays(*degrees), -1), degrees=True)


def rotations(angles: np.ndarray) -> np.ndarray:
    """Converts angles [frames angles], degrees, to [frames 24 3 3]: R_world_root, R_parent_joint.

    The world has y up; at yaw 0 the person faces z. Joints and axes are SMPL's, at rest in T-pose.
    """
    a = {name: angles[:, i] for name, i in INDEX.items()}
    out = np.tile(np.eye(3), (len(angles), 24, 1, 1))

    def put(joint: int, rotation: Rotation) -> None:
        out[:, joint] = rotation.as_matrix()

    put(0, _turn("YXZ", a["yaw"], a["pitch"], a["roll"]))
    for joint, fraction in ((3, 0.3), (6, 0.4), (9, 0.3)):
        twist, flexion, bend = (fraction * a[f"spine_{n}"] for n in ("twist", "flexion", "bend"))
        put(joint, _turn("YXZ", twist, flexion, bend))
    for joint, fraction in ((12, 0.45), (15, 0.55)):
        twist, flexion, bend = (fraction * a[f"neck_{n}"] for n in ("twist", "flexion", "bend"))
        put(joint, _turn("YXZ", twist, flexion, bend))
    for side, hip, sign in (("l", 1, 1), ("r", 2, -1)):
        s = {name: a[f"{name}_{side}"] for name in SIDE_LIMITS}
        put(
            hip,
            _turn("XZY", -s["hip_flexion"], sign * s["hip_abduction"], sign * s["hip_rotation"]),
        )
        put(hip + 3, _turn("X", s["knee"]))
        put(hip + 6, _turn("X", -s["ankle"]))
        put(hip + 12, _turn("ZY", sign * s["collar_up"], -sign * s["collar_forward"]))
        # The arm points sideways at rest and hangs 80 degrees below that.
        down = -sign * (80 - s["arm_abduction"])
        put(hip + 15, _turn("XZX", -s["arm_flexion"], down, -s["arm_rotation"]))
        put(hip + 17, _turn("YX", -sign * s["elbow"], -s["forearm"]))
        put(hip + 19, _turn("Z", -sign * s["wrist"]))
    return out


def plant(
    feet: np.ndarray, lowest: np.ndarray, hop: np.ndarray, support: np.ndarray | None = None
) -> np.ndarray:
    """Returns the root's position, given that the body stands on the floor (y = 0).

    Args:
      feet: [frames points 3] points under the feet relative to the root, world axes; the first half
        belongs to the left foot.
      lowest: [frames] height of the body's lowest point relative to the root.
      hop: [frames] height of the lowest point above the floor.
      support: [frames 2] how much weight each foot carries; default: the lower points carry.

    Returns:
      t_world_root [frames 3]: the lowest point is at height `hop`, and the feet that carry the body
      do not move horizontally. Starts at x = z = 0.
    """
    height = hop - gaussian_filter1d(lowest, 1.0, mode="nearest")
    if len(feet) == 1:
        return np.array([[0.0, height[0], 0.0]])
    # The points are slightly above the soles, so the carrying foot is the lower one.
    clearance = feet[..., 1] + height[:, None]
    lower = clearance.min(axis=1)
    if support is None:
        weight = np.exp(-(((clearance - lower[:, None]) / 0.02) ** 2))
    else:
        weight = np.repeat(support, feet.shape[1] // 2, axis=1)
    step = np.diff(feet[..., [0, 2]], axis=0)
    weight = (weight[1:] * weight[:-1])[..., None] + 1e-9
    velocity = -(step * weight).sum(1) / weight.sum(1)
    carried = ((lower < 0.12) & (hop < 0.02))[1:, None]
    velocity = np.where(carried, velocity, 0)
    # In the air, and when nothing carries for a moment, the body keeps its velocity.
    fraction = gaussian_filter1d(carried.astype(float), 2.0, axis=0, mode="nearest")
    velocity = gaussian_filter1d(velocity, 2.0, axis=0, mode="nearest") / np.maximum(fraction, 0.15)
    ground = np.concatenate([np.zeros((1, 2)), np.cumsum(velocity, axis=0)])
    return np.stack([ground[:, 0], height, ground[:, 1]], axis=-1)
