"""The mannequin's anatomy: where its joints are, and an implicit function of its skin.

Axes are SMPL's: y up, +x the body's left, facing +z, metres, arms along x. The skin is the zero set
of `distance`, a smooth union of lofts (limbs and torso: elliptical sections that follow a table of
measures), ellipsoids (muscles, skull) and tapered capsules (fingers, nose). Only the left half is
defined; the right half is its mirror image. The floor is at y = -1.15 and the top of the head at
y = 0.55, so the body is 1.70 m tall.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from maed_jax.body.skeleton import JOINT_FLIP

FLOOR = -1.15

# Joints of the left half and the middle; the right ones are mirrored.
_REST = {
    0: (0.000, -0.225, 0.020),  # pelvis
    1: (0.080, -0.320, 0.005),  # hip
    3: (0.000, -0.115, 0.000),  # spine 1
    4: (0.103, -0.695, 0.008),  # knee
    6: (0.000, 0.020, 0.000),  # spine 2
    7: (0.110, -1.080, -0.030),  # ankle
    9: (0.000, 0.085, 0.005),  # spine 3
    10: (0.124, -1.125, 0.085),  # foot
    12: (0.000, 0.280, -0.020),  # neck
    13: (0.075, 0.200, -0.010),  # collar
    15: (0.000, 0.365, 0.020),  # head
    16: (0.172, 0.222, -0.020),  # shoulder
    18: (0.430, 0.215, -0.038),  # elbow
    20: (0.685, 0.215, -0.042),  # wrist
    22: (0.768, 0.212, -0.052),  # hand
}


def rest_joints() -> np.ndarray:
    """Rest joints [24 3], metres, in SMPL's order, exactly mirror symmetric."""
    joints = np.zeros((24, 3))
    for joint, position in _REST.items():
        joints[JOINT_FLIP[joint]] = np.array(position) * (-1, 1, 1)
        joints[joint] = position
    return joints


def smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def smooth_min(a: np.ndarray, b: np.ndarray, reach: float) -> np.ndarray:
    """Minimum of two distances [n] that blends within `reach` metres (twice differentiable)."""
    overlap = np.maximum(reach - np.abs(a - b), 0.0) / reach
    return np.minimum(a, b) - overlap**3 * (reach / 6.0)


def _ellipsoid(points, center, radii, angles=(0.0, 0.0, 0.0)):
    """First-order distance to an ellipsoid rotated by xyz Euler `angles` in degrees."""
    local = points - np.asarray(center)
    if any(angles):
        local = local @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    scaled = local / radii
    k0 = np.sqrt(np.einsum("ni,ni->n", scaled, scaled))
    scaled /= radii
    k1 = np.sqrt(np.einsum("ni,ni->n", scaled, scaled))
    return k0 * (k0 - 1.0) / np.maximum(k1, 1e-9)


def _capsule(points, start, end, radius_start, radius_end):
    """Distance to a segment with a radius that changes linearly."""
    start, axis = np.asarray(start), np.subtract(end, start)
    local = points - start
    t = np.clip(local @ axis / (axis @ axis), 0.0, 1.0)
    local = local - t[:, None] * axis
    reach = radius_start + t * (radius_end - radius_start)
    return np.sqrt(np.einsum("ni,ni->n", local, local)) - reach


class _Loft:
    """A tube along one axis whose sections are superellipses that follow a table of measures.

    Rows of `table`: (position on the axis, centre u, half width u, low v, high v), with (u, v) the
    other two axes in order. The ends are rounded caps as long as `cap`.
    """

    def __init__(self, axis: int, table, power: float = 2.0, cap: float = 0.03):
        table = np.asarray(table, dtype=np.float64)
        order = np.argsort(table[:, 0])
        table = table[order]
        self.axis, self.others = axis, [i for i in range(3) if i != axis]
        self.start, self.end = table[0, 0], table[-1, 0]
        self.power, self.cap = power, cap
        self.s = np.linspace(self.start, self.end, 256)
        low, high = table[:, 3], table[:, 4]
        measures = np.stack([table[:, 1], table[:, 2], (low + high) / 2, (high - low) / 2], axis=1)
        self.measures = CubicSpline(table[:, 0], measures, bc_type="natural")(self.s).T

    def __call__(self, points):
        along = points[:, self.axis]
        inside = np.clip(along, self.start, self.end)
        cu, ru, cv, rv = (np.interp(inside, self.s, m) for m in self.measures)
        u = np.abs(points[:, self.others[0]] - cu) / ru
        v = np.abs(points[:, self.others[1]] - cv) / rv
        w = (along - inside) / self.cap
        n = self.power
        if n == 2.0:
            k = np.sqrt(u * u + v * v)
            slope = np.sqrt((u / ru) ** 2 + (v / rv) ** 2) / np.maximum(k, 1e-9)
        else:
            un, vn = u ** (n - 1), v ** (n - 1)
            k = (un * u + vn * v) ** (1 / n)
            slope = np.sqrt((un / ru) ** 2 + (vn / rv) ** 2) / np.maximum(k ** (n - 1), 1e-9)
        beyond = w != 0.0
        if beyond.any():
            kb, wb = k[beyond], w[beyond]
            total = np.sqrt(kb * kb + wb * wb)
            slope[beyond] = np.sqrt((kb * slope[beyond]) ** 2 + (wb / self.cap) ** 2)
            slope[beyond] /= np.maximum(total, 1e-9)
            k[beyond] = total
        return (k - 1.0) / np.maximum(slope, 1e-3)


# y, centre x, half width x, back z, front z
_TORSO = (
    (-0.360, 0.000, 0.130, -0.070, 0.066),
    (-0.320, 0.000, 0.158, -0.085, 0.088),
    (-0.260, 0.000, 0.164, -0.095, 0.102),
    (-0.180, 0.000, 0.149, -0.086, 0.104),
    (-0.090, 0.000, 0.130, -0.078, 0.099),
    (-0.020, 0.000, 0.131, -0.090, 0.101),
    (0.060, 0.000, 0.143, -0.110, 0.110),
    (0.130, 0.000, 0.150, -0.121, 0.112),
    (0.190, 0.000, 0.142, -0.118, 0.096),
    (0.240, 0.000, 0.108, -0.103, 0.064),
    (0.275, 0.000, 0.066, -0.085, 0.034),
)
_NECK = (
    (0.230, 0.0, 0.064, -0.085, 0.040),
    (0.280, 0.0, 0.056, -0.078, 0.036),
    (0.330, 0.0, 0.053, -0.066, 0.044),
    (0.380, 0.0, 0.053, -0.058, 0.050),
    (0.420, 0.0, 0.052, -0.052, 0.050),
)
_LEG = (
    (-0.330, 0.090, 0.080, -0.080, 0.084),
    (-0.420, 0.101, 0.081, -0.084, 0.088),
    (-0.500, 0.104, 0.075, -0.073, 0.086),
    (-0.580, 0.105, 0.065, -0.062, 0.077),
    (-0.640, 0.105, 0.056, -0.053, 0.066),
    (-0.690, 0.105, 0.052, -0.047, 0.061),
    (-0.740, 0.106, 0.050, -0.053, 0.052),
    (-0.800, 0.108, 0.054, -0.072, 0.046),
    (-0.860, 0.110, 0.053, -0.076, 0.040),
    (-0.940, 0.111, 0.042, -0.066, 0.030),
    (-1.020, 0.111, 0.032, -0.058, 0.018),
    (-1.080, 0.111, 0.033, -0.060, 0.012),
    (-1.105, 0.111, 0.033, -0.062, 0.012),
)
# x, centre y, half height y, back z, front z
_ARM = (
    (0.140, 0.200, 0.062, -0.078, 0.040),
    (0.200, 0.208, 0.058, -0.075, 0.036),
    (0.260, 0.211, 0.050, -0.077, 0.022),
    (0.320, 0.213, 0.046, -0.078, 0.017),
    (0.380, 0.214, 0.041, -0.078, 0.009),
    (0.430, 0.215, 0.037, -0.076, 0.002),
    (0.480, 0.215, 0.040, -0.077, 0.005),
    (0.530, 0.215, 0.038, -0.075, 0.000),
    (0.590, 0.215, 0.031, -0.072, -0.008),
    (0.650, 0.215, 0.023, -0.070, -0.012),
    (0.690, 0.215, 0.020, -0.070, -0.011),
)
_PALM = (
    (0.680, 0.215, 0.019, -0.069, -0.013),
    (0.705, 0.214, 0.018, -0.076, -0.010),
    (0.735, 0.213, 0.0165, -0.085, -0.008),
    (0.758, 0.212, 0.0145, -0.088, -0.006),
    (0.774, 0.211, 0.0115, -0.086, -0.008),
)
# Fingers of the left hand, starting with the thumb: the ends of three phalanges, base to tip.
_FINGERS = (
    ((0.712, 0.206, -0.022), (0.741, 0.200, 0.007), (0.765, 0.195, 0.025), (0.786, 0.191, 0.035)),
    (
        (0.742, 0.212, -0.022),
        (0.799, 0.212, -0.011),
        (0.820, 0.208, -0.007),
        (0.836, 0.204, -0.004),
    ),
    (
        (0.748, 0.213, -0.039),
        (0.810, 0.213, -0.037),
        (0.833, 0.209, -0.036),
        (0.851, 0.204, -0.035),
    ),
    (
        (0.744, 0.212, -0.057),
        (0.803, 0.212, -0.063),
        (0.824, 0.208, -0.066),
        (0.841, 0.203, -0.068),
    ),
    (
        (0.736, 0.209, -0.072),
        (0.785, 0.209, -0.088),
        (0.802, 0.206, -0.094),
        (0.815, 0.202, -0.098),
    ),
)
# Their radii at base and tip.
_FINGER_RADII = (
    (0.0150, 0.0100),
    (0.0110, 0.0084),
    (0.0112, 0.0086),
    (0.0108, 0.0083),
    (0.0098, 0.0074),
)
# z, centre x, half width x, low y, high y (before the foot is turned out)
_FOOT = (
    (-0.078, 0.111, 0.026, -1.150, -1.090),
    (-0.045, 0.111, 0.033, -1.152, -1.072),
    (0.000, 0.110, 0.035, -1.152, -1.062),
    (0.040, 0.111, 0.039, -1.152, -1.076),
    (0.080, 0.113, 0.045, -1.152, -1.095),
    (0.115, 0.113, 0.047, -1.152, -1.107),
    (0.140, 0.111, 0.042, -1.151, -1.114),
    (0.152, 0.109, 0.037, -1.150, -1.118),
)
# y, centre x, half width x, back z, front z: the face and jaw, under the skull
_FACE = (
    (0.336, 0.000, 0.026, 0.060, 0.109),
    (0.350, 0.000, 0.042, 0.034, 0.1125),
    (0.370, 0.000, 0.0525, 0.006, 0.1155),
    (0.395, 0.000, 0.059, -0.022, 0.113),
    (0.420, 0.000, 0.063, -0.040, 0.112),
    (0.445, 0.000, 0.064, -0.050, 0.110),
    (0.468, 0.000, 0.060, -0.045, 0.106),
    (0.490, 0.000, 0.040, -0.030, 0.085),
)


@functools.cache
def _lofts() -> dict[str, _Loft]:
    return {
        "torso": _Loft(1, _TORSO, power=2.25, cap=0.03),
        "neck": _Loft(1, _NECK, cap=0.03),
        "leg": _Loft(1, _LEG, power=2.1, cap=0.03),
        "arm": _Loft(0, _ARM, cap=0.03),
        "palm": _Loft(0, _PALM, power=2.5, cap=0.008),
        "foot": _Loft(2, _FOOT, power=2.4, cap=0.02),
        "face": _Loft(1, _FACE, power=2.2, cap=0.016),
    }


def _trunk(p, d):
    """Torso, legs, arms; `p` has a rounded |x|, so that pairs of parts join smoothly."""
    lofts = _lofts()
    d = smooth_min(d, lofts["torso"](p), 0.01)
    d = smooth_min(d, lofts["neck"](p), 0.06)
    d = smooth_min(d, lofts["leg"](p), 0.06)
    d = smooth_min(d, _ellipsoid(p, (0.078, -0.305, -0.050), (0.080, 0.085, 0.078)), 0.05)
    d = smooth_min(d, _ellipsoid(p, (0.068, 0.148, 0.062), (0.084, 0.060, 0.052)), 0.05)
    d = smooth_min(
        d, _capsule(p, (0.028, 0.318, -0.042), (0.155, 0.236, -0.030), 0.032, 0.032), 0.07
    )
    d = smooth_min(d, _ellipsoid(p, (0.185, 0.206, -0.020), (0.068, 0.056, 0.058)), 0.05)
    d = smooth_min(d, _ellipsoid(p, (0.108, 0.130, -0.055), (0.050, 0.100, 0.060)), 0.05)
    d = smooth_min(d, lofts["arm"](p), 0.05)
    d = smooth_min(d, _ellipsoid(p, (0.106, -0.692, 0.046), (0.024, 0.030, 0.018)), 0.03)
    spine = _capsule(p, (0.0, 0.16, -0.137), (0.0, -0.16, -0.100), 0.010, 0.010)
    return -smooth_min(-d, spine, 0.035)


def _head(p, d):
    lofts = _lofts()
    head = _ellipsoid(p, (0.0, 0.462, 0.016), (0.075, 0.086, 0.098))
    head = smooth_min(head, lofts["face"](p), 0.04)
    head = smooth_min(head, _ellipsoid(p, (0.0, 0.343, 0.094), (0.021, 0.016, 0.020)), 0.03)
    head = smooth_min(head, _ellipsoid(p, (0.043, 0.412, 0.077), (0.022, 0.020, 0.022)), 0.03)
    throat = _capsule(p, (0.0, 0.348, 0.090), (0.0, 0.336, 0.030), 0.018, 0.020)
    head = smooth_min(head, throat, 0.03)
    # eye sockets under the brows, then the eyes in them
    head = -smooth_min(-head, _ellipsoid(p, (0.032, 0.440, 0.120), (0.018, 0.012, 0.016)), 0.02)
    head = smooth_min(head, _ellipsoid(p, (0.031, 0.438, 0.091), (0.013, 0.011, 0.0125)), 0.006)
    bridge = _capsule(p, (0.0, 0.447, 0.106), (0.0, 0.408, 0.125), 0.007, 0.011)
    head = smooth_min(head, bridge, 0.020)
    head = smooth_min(head, _ellipsoid(p, (0.011, 0.402, 0.119), (0.009, 0.008, 0.010)), 0.012)
    head = smooth_min(head, _ellipsoid(p, (0.0, 0.3765, 0.107), (0.024, 0.006, 0.011)), 0.014)
    head = smooth_min(head, _ellipsoid(p, (0.0, 0.3655, 0.106), (0.020, 0.006, 0.010)), 0.012)
    head = smooth_min(head, ear(p), 0.016)
    return smooth_min(smooth_min(d, head, 0.03), hair(p), 0.006)


def hair(p: np.ndarray) -> np.ndarray:
    """Distance [n] to the hair, a close cap a few millimetres off the skull."""
    return _ellipsoid(p, (0.0, 0.469, 0.005), (0.0795, 0.081, 0.092), (-6, 0, 0))


def _hand(p, d):
    d = smooth_min(d, _lofts()["palm"](p), 0.02)
    fingers = np.full(len(p), 1.0)
    for index, (chain, (base, tip)) in enumerate(zip(_FINGERS, _FINGER_RADII)):
        radii = np.linspace(base, tip, 4)
        finger = np.full(len(p), 1.0)
        for k in range(3):
            bone = _capsule(p, chain[k], chain[k + 1], radii[k], radii[k + 1])
            finger = smooth_min(finger, bone, 0.006)
        if index == 0:
            d = smooth_min(d, finger, 0.022)
        else:
            fingers = smooth_min(fingers, finger, 0.006)
    return smooth_min(d, fingers, 0.012)


def finger_tips() -> np.ndarray:
    """Tips of the left hand's fingers [5 3], starting with the thumb."""
    return np.array([chain[-1] for chain in _FINGERS]) + (0.006, 0.0, 0.0)


_TOE_OUT = Rotation.from_euler("y", 7, degrees=True).as_matrix()


def _foot(p, d):
    pivot = np.array([0.111, 0.0, -0.03])
    local = (p - pivot) @ _TOE_OUT + pivot
    foot = smooth_min(
        _lofts()["foot"](local), _ellipsoid(p, (0.111, -1.112, -0.048), (0.033, 0.037, 0.040)), 0.03
    )
    foot = smooth_min(foot, _ellipsoid(local, (0.112, -1.129, 0.118), (0.045, 0.024, 0.052)), 0.02)
    d = smooth_min(d, foot, 0.05)
    d = smooth_min(d, _ellipsoid(p, (0.080, -1.078, -0.022), (0.008, 0.012, 0.012)), 0.012)
    d = smooth_min(d, _ellipsoid(p, (0.142, -1.085, -0.032), (0.008, 0.012, 0.012)), 0.012)
    sole = (FLOOR + 0.004) - p[:, 1]
    return -smooth_min(-d, -sole, 0.012)


# part, and the box (low, high) outside which it has no effect
_REGIONS = (
    (_trunk, (0.0, -1.13, -0.22), (0.78, 0.48, 0.22)),
    (_head, (0.0, 0.28, -0.16), (0.16, 0.64, 0.22)),
    (_hand, (0.64, 0.13, -0.16), (0.93, 0.28, 0.10)),
    (_foot, (0.0, -1.25, -0.18), (0.26, -0.98, 0.26)),
)


def distance(points: np.ndarray) -> np.ndarray:
    """Approximate signed distance [n] in metres of points [n 3] to the skin, negative inside.

    Only depends on |x|, so it is exactly mirror symmetric.
    """
    folded = np.array(points, dtype=np.float64)
    folded[:, 0] = np.sqrt(folded[:, 0] ** 2 + 0.004**2)
    d = np.full(len(folded), 0.5)
    for part, low, high in _REGIONS:
        near = np.flatnonzero(((folded > low) & (folded < high)).all(axis=1))
        if len(near):
            d[near] = part(folded[near], d[near])
    return d


# How far down the hair reaches, from the back of the head to the forehead: z, and lowest y.
_HAIRLINE_Z = (-0.090, -0.060, -0.025, 0.000, 0.020, 0.050, 0.080, 0.105)
_HAIRLINE_Y = (0.385, 0.388, 0.405, 0.425, 0.446, 0.478, 0.496, 0.504)


def _where(condition: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(condition, values, np.nan)


# Borders of clothes, hair and parts of the face: functions [n 3] -> [n] of points, along whose zero
# sets the mesh gets edges. NaN where they do not apply.
SEAMS = {
    "collar": lambda p: _where(
        p[:, 1] < 0.325, 0.090 - np.linalg.norm((p - (0.0, 0.315, -0.005)) * (1, 1, 1.2), axis=1)
    ),
    "sleeve": lambda p: np.abs(p[:, 0]) - 0.330,
    "waist": lambda p: p[:, 1] + 0.195 + 0.10 * p[:, 2],
    "cuff": lambda p: p[:, 1] + 1.065 - 0.15 * p[:, 2],
    "brow": lambda p: _where(p[:, 2] > 0.05, p[:, 1] - 0.4565),
    "eye": lambda p: _where(p[:, 2] > 0.05, p[:, 1] - 0.4385),
    "mouth": lambda p: _where(p[:, 2] > 0.07, p[:, 1] - 0.3710),
    "hairline": lambda p: p[:, 1] - np.interp(p[:, 2], _HAIRLINE_Z, _HAIRLINE_Y),
}


def ear(points: np.ndarray) -> np.ndarray:
    """Distance [n] to the ears."""
    return _ellipsoid(points, (0.075, 0.430, 0.000), (0.008, 0.030, 0.017), (-12, -18, -4))
