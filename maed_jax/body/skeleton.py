"""Names, trees and tables: the 24 joints of SMPL, the 49 keypoints of SPIN, joint sets of datasets.

Index tables are read-only NumPy arrays, which can index both NumPy and JAX arrays. Sources: SMPL
(Loper et al., 2015), SPIN (Kolotouros et al., 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maed_jax.errors import UserError


def _table(values) -> np.ndarray:
    table = np.array(values, np.int64)
    table.setflags(write=False)
    return table


# --- The tree -------------------------------------------------------------------------------------

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar",
    "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def ancestors(parents: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The ancestors of each joint of a tree, root first, without the joint itself.

    `parents` has each joint's parent, or -1 for a root, in any order.
    """
    chains = []
    for joint, parent in enumerate(parents):
        chain: list[int] = []
        while parent != -1:
            if not 0 <= parent < len(parents) or parent == joint or parent in chain:
                raise ValueError(f"joint {joint} of {tuple(parents)} does not lead to a root")
            chain.append(parent)
            parent = parents[parent]
        chains.append(tuple(reversed(chain)))
    return tuple(chains)


def descendants(parents: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The descendants of each joint of a tree, deepest first, without the joint itself."""
    chains = ancestors(parents)
    deepest_first = sorted(range(len(chains)), key=lambda joint: -len(chains[joint]))
    return tuple(
        tuple(other for other in deepest_first if joint in chains[other])
        for joint in range(len(chains))
    )


def random_parents(joints: int, seed: int) -> tuple[int, ...]:
    """The parents in a random tree of `joints` joints, the same on every machine for a given seed.

    The joints are put in random order; the first is the root, and the parent of each other joint is
    one of those before it, all equally likely. So any joint may be the root, and a parent may have
    a higher number than its children.
    """
    rng = np.random.RandomState(seed)  # its stream is frozen, unlike that of newer generators
    order = rng.permutation(joints)
    parents = [-1] * joints
    for placed in range(1, joints):
        parents[order[placed]] = int(order[rng.randint(placed)])
    return tuple(parents)


def levels(parents: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The joints of a tree by depth: roots, then their children, and so on."""
    depth = [len(chain) for chain in ancestors(parents)]
    return tuple(
        tuple(joint for joint, d in enumerate(depth) if d == level)
        for level in range(max(depth, default=-1) + 1)
    )


ANCESTORS = ancestors(PARENTS)
LEVELS = levels(PARENTS)

# --- The 49 keypoints -----------------------------------------------------------------------------

KEYPOINT_NAMES = (
    # 25 as in OpenPose's BODY_25
    "OP Nose", "OP Neck", "OP RShoulder", "OP RElbow", "OP RWrist", "OP LShoulder", "OP LElbow",
    "OP LWrist", "OP MidHip", "OP RHip", "OP RKnee", "OP RAnkle", "OP LHip", "OP LKnee",
    "OP LAnkle", "OP REye", "OP LEye", "OP REar", "OP LEar", "OP LBigToe", "OP LSmallToe",
    "OP LHeel", "OP RBigToe", "OP RSmallToe", "OP RHeel",
    # 24 as in LSP, MPI-INF-3DHP, Human3.6M and COCO
    "rankle", "rknee", "rhip", "lhip", "lknee", "lankle", "rwrist", "relbow", "rshoulder",
    "lshoulder", "lelbow", "lwrist", "neck", "headtop", "hip", "thorax", "Spine (H36M)",
    "Jaw (H36M)", "Head (H36M)", "nose", "leye", "reye", "lear", "rear",
)  # fmt: skip
LANDMARK_NAMES = (
    # 21 single vertices of the mesh
    "nose", "reye", "leye", "rear", "lear", "lbigtoe", "lsmalltoe", "lheel", "rbigtoe", "rsmalltoe",
    "rheel", "lthumb", "lindex", "lmiddle", "lring", "lpinky", "rthumb", "rindex", "rmiddle",
    "rring", "rpinky",
    # 9 weighted sums of vertices: the rows of J_regressor_extra
    "rhip", "lhip", "neck", "headtop", "hip", "thorax", "Spine (H36M)", "Jaw (H36M)", "Head (H36M)",
)  # fmt: skip
# SMPL's vertices for the first 21 landmarks (mesh with 6890 vertices).
SMPL_LANDMARK_VERTICES = _table(
    [332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787]
    + [2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133]
)
# Index of each keypoint in the 24 joints followed by the 30 landmarks.
KEYPOINT_SOURCE = _table(
    [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34]
    + [8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27]
)
RIGHT_HIP, LEFT_HIP = 27, 28  # keypoints; the midpoint is the root of 3D labels
# Pairs of keypoints to draw: legs, feet, spine and head, arms, face.
SKELETON_BONES = (
    (39, 27), (27, 26), (26, 25), (39, 28), (28, 29), (29, 30),
    (25, 24), (25, 22), (22, 23), (30, 21), (30, 19), (19, 20),
    (39, 41), (41, 40), (40, 37), (37, 38),
    (40, 33), (33, 32), (32, 31), (40, 34), (34, 35), (35, 36),
    (37, 44), (44, 45), (44, 46), (45, 47), (46, 48),
)  # fmt: skip

# --- Joint sets of the datasets, named as in the 49 -----------------------------------------------

_LSP = KEYPOINT_NAMES[25:39]  # right leg up from the ankle, left leg down, arms likewise, head
_COCO = (
    "nose", "leye", "reye", "lear", "rear", "lshoulder", "rshoulder", "lelbow", "relbow", "lwrist",
    "rwrist", "lhip", "rhip", "lknee", "rknee", "lankle", "rankle",
)  # fmt: skip
_ARMS_LEGS = (
    "rshoulder", "relbow", "rwrist", "lshoulder", "lelbow", "lwrist",
    "rhip", "rknee", "rankle", "lhip", "lknee", "lankle",
)  # fmt: skip
_H36M_LIMBS = ("hip", "lhip", "lknee", "lankle", "rhip", "rknee", "rankle", "Spine (H36M)", "neck")
_H36M_ARMS = ("lshoulder", "lelbow", "lwrist", "rshoulder", "relbow", "rwrist")

JOINT_SETS: dict[str, tuple[str, ...]] = {
    "smpl": JOINT_NAMES,
    "spin": KEYPOINT_NAMES,
    "spin2": KEYPOINT_NAMES[25:],
    "common": _LSP,  # LSP, LSP-Extended
    "smplcoco": (*_LSP, "nose", "leye", "reye", "lear", "rear"),
    "coco": _COCO,
    "mpii": (*_LSP[:6], "hip", "thorax", *_LSP[12:], *_LSP[6:12]),
    # Code bases disagree on the names of rows 9 and 10; `h36m_regressor` has SPIN's names for the
    # regressor's outputs, where Human3.6M's raw joints 14 and 15 are jaw and head.
    "h36m": (*_H36M_LIMBS, "Head (H36M)", "headtop", *_H36M_ARMS),
    "h36m_regressor": (*_H36M_LIMBS, "Jaw (H36M)", "Head (H36M)", *_H36M_ARMS),
    "mpii3d": (
        "spine3", "spine4", "spine2", "Spine (H36M)", "hip", "neck", "Head (H36M)", "headtop",
        "left_clavicle", "lshoulder", "lelbow", "lwrist", "left_hand",
        "right_clavicle", "rshoulder", "relbow", "rwrist", "right_hand",
        "lhip", "lknee", "lankle", "left_foot", "left_toe",
        "rhip", "rknee", "rankle", "right_foot", "right_toe",
    ),
    "mpii3d_test": ("headtop", "neck", *_ARMS_LEGS, "hip", "Spine (H36M)", "Head (H36M)"),
    "3dpw": ("nose", "thorax", *_ARMS_LEGS),
    "aich": (*_ARMS_LEGS, "headtop", "neck"),
    "posetrack": ("nose", "neck", "headtop", *_COCO[3:]),
    "pennaction": (*_LSP[5::-1], *_LSP[11:5:-1], "headtop"),
    "pennaction_raw": (
        "headtop", "rshoulder", "lshoulder", "relbow", "lelbow", "rwrist", "lwrist",
        "rhip", "lhip", "rknee", "lknee", "rankle", "lankle",
    ),
    "insta": (
        "OP RHeel", "OP RKnee", "OP RHip", "OP LHip", "OP LKnee", "OP LHeel", "OP RWrist",
        "OP RElbow", "OP RShoulder", "OP LShoulder", "OP LElbow", "OP LWrist", "OP Neck", "headtop",
        "OP Nose", "OP LEye", "OP REye", "OP LEar", "OP REar", "OP LBigToe", "OP RBigToe",
        "OP LSmallToe", "OP RSmallToe", "OP LAnkle", "OP RAnkle",
    ),
    "staf": (*KEYPOINT_NAMES[:15], "OP REye", "OP LEye", "OP REar", "OP LEar", "Neck (LSP)",
             "Top of Head (LSP)"),
}  # fmt: skip


def joint_names(joints: str | Sequence[str]) -> tuple[str, ...]:
    """The names of a joint set, given as its key in `JOINT_SETS` or as the names themselves.

    Raises:
      UserError: there is no such set.
    """
    if not isinstance(joints, str):
        return tuple(joints)
    if joints not in JOINT_SETS:
        raise UserError(
            f"there is no joint set {joints!r}; choose from {', '.join(sorted(JOINT_SETS))}"
        )
    return JOINT_SETS[joints]


def to_keypoints49(points: np.ndarray, src: str | Sequence[str]) -> np.ndarray:
    """Maps joints of a dataset [... src c] to the 49 keypoints [... 49 c]; missing ones are zero.

    The last channel is normally a confidence or validity, so that zero means "unknown".

    Args:
      src: the joint set, see `joint_names`.
    """
    points, names = np.asarray(points), joint_names(src)
    if points.ndim < 2 or points.shape[-2] != len(names):
        raise ValueError(f"expected [... {len(names)} c] for {src!r}, got {points.shape}")
    index = {name: i for i, name in enumerate(names)}
    source = np.array([index.get(name, -1) for name in KEYPOINT_NAMES])
    picked = points[..., np.maximum(source, 0), :]
    return np.where((source >= 0)[:, None], picked, np.zeros((), points.dtype))


# --- Selections -----------------------------------------------------------------------------------

J49_TO_MPII3D = _table([*range(25, 39), 39, 41, 43])
J49_TO_H36M = _table([*range(25, 38), 39, 41, 42, 43])
H36M_TO_J14 = _table([6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10])
H36M_TO_J17 = _table([6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 0, 7, 9, 10])

# --- Left and right -------------------------------------------------------------------------------

_SIDES = (("left", "right"), ("OP L", "OP R"), ("l", "r"))


def flip_permutation(joints: str | Sequence[str]) -> np.ndarray:
    """The index of each joint's mirror image in a joint set; its own for joints in the middle."""
    names = joint_names(joints)

    def mirrored(name: str) -> int:
        for pair in _SIDES:
            for side, opposite in (pair, pair[::-1]):
                if name.startswith(side) and opposite + name[len(side) :] in names:
                    return names.index(opposite + name[len(side) :])
        return names.index(name)

    return _table([mirrored(name) for name in names])


JOINT_FLIP = flip_permutation(JOINT_NAMES)
KEYPOINT_FLIP = flip_permutation(KEYPOINT_NAMES)


def flip_pose(pose):
    """The pose of the mirrored person: [... 72] axis-angle, radians; NumPy or JAX.

    All 24 joints swap sides and rotations are mirrored in the plane x = 0, so flipping twice is the
    identity.
    """
    swapped = pose.reshape(*pose.shape[:-1], 24, 3)[..., JOINT_FLIP, :]
    return (swapped * np.array([1, -1, -1], np.float32)).reshape(pose.shape)


def flip_keypoints(points):
    """Mirrors the 49 keypoints [... 49 c] in the plane x = 0 and swaps left and right.

    Channels other than x stay unchanged.
    """
    sign = np.ones(points.shape[-1], np.float32)
    sign[0] = -1
    return points[..., KEYPOINT_FLIP, :] * sign
