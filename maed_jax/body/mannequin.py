"""The mannequin: a human body built in code, so that everything runs without SMPL's licensed files.

`mannequin()` is a `Body` with SMPL's 24-joint tree and axes, about 7,000 vertices in one closed,
exactly symmetric surface, ten shape directions, and regressors for the 49 keypoints and the 17
joints of Human3.6M. It is deterministic and reads no files. Its shape coefficients and vertices are
not SMPL's, so never compare results on it with results on SMPL.

One unit of a shape coefficient is about one standard deviation among adults:

| beta | name | +1 means |
| --- | --- | --- |
| 0 | stature | 7 cm taller, all parts in proportion (the head grows half as much) |
| 1 | girth | more fat: 1 to 2 cm on the trunk, less on limbs; 11 litres in total |
| 2 | muscle | thicker limbs, shoulders, chest and neck; 6 litres in total |
| 3 | leg length | 2.5 cm more leg and as much less trunk |
| 4 | arm length | 2 cm more from shoulder to wrist |
| 5 | shoulder width | 1.2 cm more on each side |
| 6 | hip width | 1.2 cm more on each side |
| 7 | belly | 2 cm forward |
| 8 | chest depth | 2 cm deeper chest, bust forward |
| 9 | head size | 4 % |
"""

from __future__ import annotations

import functools

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body import mannequin_anatomy as anatomy
from maed_jax.body import mannequin_surface as surface
from maed_jax.body.mannequin_rig import pose_dirs, regressor_row, skin_weights
from maed_jax.body.mannequin_shape import shape_dirs
from maed_jax.body.skeleton import JOINT_FLIP
from maed_jax.body.smpl import Body
from maed_jax.body.surface import Surface

PART_NAMES = (
    "skin", "hair", "eyes", "lips", "brows", "shirt", "sleeves", "trousers", "shoes", "soles",
)  # fmt: skip

# Positions of landmarks and regressed joints of the left half and the middle, metres.
_MIDDLE_LANDMARKS = {"nose": (0.0, 0.406, 0.160)}
_SIDE_LANDMARKS = {
    "eye": (0.031, 0.4385, 0.100),
    "ear": (0.092, 0.428, -0.004),
    "bigtoe": (0.106, -1.124, 0.175),
    "smalltoe": (0.172, -1.130, 0.125),
    "heel": (0.106, -1.128, -0.110),
}
_HIP = (0.088, -0.310, 0.000)
_PELVIS = (0.000, -0.270, 0.000)
_NECK = (0.000, 0.285, -0.012)
_THORAX = (0.000, 0.240, -0.020)
_SPINE = (0.000, 0.000, 0.000)
_JAW = (0.000, 0.372, 0.060)
_HEAD = (0.000, 0.480, 0.030)
_HEAD_TOP = (0.000, 0.535, 0.015)


def _landmark_vertices(verts: np.ndarray, mirror: np.ndarray) -> list[int]:
    """The 21 vertices of `LANDMARK_NAMES`."""

    def nearest(point):
        return int(np.argmin(((verts - point) ** 2).sum(axis=1)))

    nose = nearest(_MIDDLE_LANDMARKS["nose"])
    left = {name: nearest(point) for name, point in _SIDE_LANDMARKS.items()}
    tips = [nearest(tip) for tip in anatomy.finger_tips()]
    vertices = [nose, mirror[left["eye"]], left["eye"], mirror[left["ear"]], left["ear"]]
    feet = [left["bigtoe"], left["smalltoe"], left["heel"]]
    vertices += feet + [mirror[i] for i in feet] + tips + [mirror[i] for i in tips]
    return [int(i) for i in vertices]


_RING = 48  # maximum number of vertices from which a joint or landmark is regressed


def _regressor(
    verts, mirror, weights, point, joints, reach: float, axis=(0.0, 1.0, 0.0), band=0.02
) -> np.ndarray:
    """Row [verts] that regresses a point inside the body parts that follow `joints`.

    Prefers vertices within `reach` metres of the point, and within `band` metres of the plane
    through it that is perpendicular to `axis`.
    """
    point = np.asarray(point, dtype=np.float64)
    offset = verts - point
    along = offset @ np.asarray(axis)
    distance = np.linalg.norm(offset, axis=1)
    prior = weights[:, list(joints)].sum(axis=1) ** 2
    prior = prior * np.exp(-0.5 * (along / band) ** 2 - 0.5 * (distance / reach) ** 2)
    if point[0] == 0.0:
        prior = np.minimum(prior, prior[mirror])  # exactly symmetric
    threshold = np.sort(prior)[-_RING - 1]
    candidates = np.flatnonzero(prior > threshold)
    row = regressor_row(verts, candidates, prior[candidates], point)
    return 0.5 * (row + row[mirror]) if point[0] == 0.0 else row


_X, _Y, _Z = np.eye(3)
# joint: (joints whose skin is nearby, reach in metres, axis of the ring of vertices)
_JOINT_SUPPORT = {
    0: ((0, 1, 2, 3), 0.09, _Y),
    1: ((0, 1), 0.07, (0.44, -0.90, 0.0)),
    3: ((0, 3, 6), 0.09, _Y),
    4: ((1, 4), 0.05, _Y),
    6: ((3, 6, 9), 0.09, _Y),
    7: ((4, 7), 0.04, _Y),
    9: ((6, 9), 0.09, _Y),
    10: ((7, 10), 0.03, _Z),
    12: ((9, 12, 13, 14), 0.06, _Y),
    13: ((9, 13), 0.06, _X),
    15: ((12, 15), 0.06, (0.0, 0.8, 0.6)),
    16: ((13, 16), 0.06, _X),
    18: ((16, 18), 0.04, _X),
    20: ((18, 20), 0.03, _X),
    22: ((20, 22), 0.025, _X),
}


def _regressors(verts, mirror, weights, joints):
    """Regressors of joints [24 verts], landmarks [30 verts] and Human3.6M's joints [17 verts]."""
    regress = functools.partial(_regressor, verts, mirror, weights)
    joint_rows = np.zeros((24, len(verts)))
    for joint, (support, reach, axis) in _JOINT_SUPPORT.items():
        joint_rows[joint] = regress(joints[joint], support, reach, axis)
        if JOINT_FLIP[joint] != joint:
            joint_rows[JOINT_FLIP[joint]] = joint_rows[joint][mirror]

    hip = regress(_HIP, (0, 1), 0.07)
    pelvis = regress(_PELVIS, (0, 1, 2), 0.09)
    neck = regress(_NECK, (9, 12, 13, 14), 0.06)
    thorax = regress(_THORAX, (9, 12, 13, 14), 0.07)
    spine = regress(_SPINE, (3, 6, 9), 0.09)
    jaw = regress(_JAW, (12, 15), 0.10, band=0.01)
    head = regress(_HEAD, (15,), 0.20, band=0.008)
    top = regress(_HEAD_TOP, (15,), 0.10, band=0.006)

    landmarks = np.zeros((30, len(verts)))
    landmarks[np.arange(21), _landmark_vertices(verts, mirror)] = 1.0
    landmarks[21:] = hip[mirror], hip, neck, top, pelvis, thorax, spine, jaw, head

    h36m = np.stack(
        [pelvis, hip, *joint_rows[[4, 7]], hip[mirror], *joint_rows[[5, 8]]]
        + [spine, thorax, jaw, top, *joint_rows[[16, 18, 20, 17, 19, 21]]]
    )
    return joint_rows, landmarks, h36m


@functools.cache
def _rest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return surface.extract(anatomy.distance, tuple(anatomy.SEAMS.values()))


def _standing_pose6d() -> np.ndarray:
    """Upright in front of a camera (y down, z forward) with lowered arms, in 6D. [144]"""
    pose = np.zeros((24, 3))
    pose[0, 0] = np.pi
    pose[[16, 17], 2] = -1.1, 1.1
    pose[[18, 19], 1] = -0.2, 0.2
    matrices = Rotation.from_rotvec(pose).as_matrix()
    return matrices[:, :, :2].reshape(-1).astype(np.float32)


@functools.cache
def mannequin() -> Body:
    """The built-in body: deterministic; built once per process, in a second or two."""
    verts, faces, mirror = _rest()
    mean = surface.neighbour_mean(faces, len(verts))
    normals = Surface(faces, len(verts)).normals(verts)
    joints = anatomy.rest_joints()
    weights = skin_weights(verts, mirror, mean)
    by_shape = shape_dirs(verts, normals, joints, weights, mirror, mean)
    joint_rows, landmarks, h36m = _regressors(verts, mirror, weights, joints)
    body = Body(
        template=verts.astype(np.float32),
        shape_dirs=by_shape.astype(np.float32),
        pose_dirs=pose_dirs(verts, joints, weights),
        skin_weights=weights.astype(np.float32),
        rest_joints=(joint_rows @ verts).astype(np.float32),
        rest_joint_dirs=np.einsum("jv,vib->jib", joint_rows, by_shape).astype(np.float32),
        faces=faces.astype(np.int32),
        landmark_regressor=landmarks.astype(np.float32),
        h36m_regressor=h36m.astype(np.float32),
        mean_pose6d=_standing_pose6d(),
        mean_shape=np.zeros(10, np.float32),
        mean_camera=np.array([0.9, 0.0, 0.0], np.float32),
        name="mannequin",
    )
    with jax.ensure_compile_time_eval():  # it is cached, and the first call may be traced
        return jax.device_put(body)


@functools.cache
def _parts() -> np.ndarray:
    verts, _, _ = _rest()
    x, y, z = np.abs(verts[:, 0]), verts[:, 1], verts[:, 2]
    seam = {name: field(verts) for name, field in anatomy.SEAMS.items()}
    on = {name: (np.abs(value) < 1e-3) & (z > 0.07) for name, value in seam.items()}
    edge = 1e-3  # vertices on a seam belong to the clothes, not the skin
    ears = anatomy.ear(np.stack([x, y, z], axis=1)) < 0.004
    regions = {
        "hair": (seam["hairline"] > -edge) & (y > 0.38) & ~ears,
        "brows": on["brow"] & (x > 0.016) & (x < 0.050),
        "eyes": on["eye"] & (x > 0.019) & (x < 0.044),
        "lips": on["mouth"] & (x < 0.024),
        "shirt": (seam["collar"] < edge) & (seam["sleeve"] < edge) & (y < 0.315),
        "sleeves": (seam["sleeve"] < edge) & (x > 0.19) & (y > 0.1) & (y < 0.315),
        "trousers": seam["waist"] < -edge,
        "shoes": seam["cuff"] < edge,
        "soles": y < anatomy.FLOOR + 0.008,
    }
    part = np.full(len(verts), PART_NAMES.index("skin"), dtype=np.int32)
    for name, where in regions.items():
        part[where] = PART_NAMES.index(name)
    return part


def vertex_parts() -> np.ndarray:
    """The index in `PART_NAMES` of each vertex's part. [verts] int32"""
    return _parts().copy()
