"""The mannequin's rig: skin weights, pose-dependent corrections, and joint regressors.

Every function uses only the rest mesh, so the rig follows any change of the anatomy. `mirror`
[verts] is the index of each vertex's mirror image.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

from maed_jax.body.mannequin_anatomy import smooth_step
from maed_jax.body.skeleton import JOINT_FLIP, PARENTS, descendants
from maed_jax.body.surface import INFLUENCES

KEPT = 0.8  # fraction of the volume-preserving correction that is applied, see `pose_dirs`

# The planes where vertices pass from a joint's parent to the joint: a point, the normal (towards
# the joint) and half the width of the blend; for joints of the left half and the middle. Metres.
_SPLITS = {
    1: ((0.085, -0.330, 0.000), (0.42, -0.85, 0.32), 0.060),
    3: ((0.000, -0.135, 0.000), (0.0, 1.0, 0.0), 0.065),
    4: ((0.105, -0.690, 0.005), (0.0, -1.0, 0.0), 0.060),
    6: ((0.000, -0.020, 0.000), (0.0, 1.0, 0.0), 0.060),
    7: ((0.110, -1.070, -0.030), (0.0, -0.85, 0.50), 0.040),
    9: ((0.000, 0.075, 0.000), (0.0, 1.0, 0.0), 0.055),
    10: ((0.120, -1.125, 0.085), (0.12, 0.0, 0.99), 0.028),
    12: ((0.000, 0.285, -0.020), (0.0, 0.96, 0.25), 0.040),
    13: ((0.080, 0.200, -0.010), (1.0, 0.0, 0.0), 0.055),
    15: ((0.000, 0.362, 0.000), (0.0, 0.80, 0.60), 0.036),
    16: ((0.168, 0.200, -0.020), (0.97, 0.25, 0.0), 0.055),
    18: ((0.430, 0.215, -0.038), (1.0, 0.0, 0.0), 0.048),
    20: ((0.685, 0.215, -0.042), (1.0, 0.0, 0.0), 0.030),
    22: ((0.768, 0.212, -0.045), (0.87, 0.0, -0.50), 0.024),
}


def skin_weights(verts: np.ndarray, mirror: np.ndarray, mean: sparse.csr_matrix) -> np.ndarray:
    """Skin weights [verts joints]: blends at planes through the joints, smoothed over the mesh.

    At most `INFLUENCES` joints per vertex; rows sum to one; exactly mirror symmetric. `mean`
    replaces each vertex by the mean of its neighbours.
    """
    x, y = np.abs(verts[:, 0]), verts[:, 1]
    folded = verts.copy()
    folded[:, 0] = x
    fractions = {}
    for joint, (point, direction, width) in _SPLITS.items():
        along = (folded - point) @ (np.array(direction) / np.linalg.norm(direction))
        fractions[joint] = smooth_step(along, -width, width)
    fractions[1] = fractions[1] * (1 - smooth_step(y, -0.25, -0.17))  # a thigh ends below the waist
    shoulders = smooth_step(x, 0.055, 0.105) * (1 - smooth_step(y, 0.31, 0.36))
    fractions[12] = fractions[12] * (1 - shoulders)
    # Collar bones move only the upper chest, and all of the arm.
    fractions[13] = fractions[13] * (1 - fractions[12])
    fractions[13] *= 1 - (1 - smooth_step(y, 0.09, 0.20)) * (1 - smooth_step(x, 0.15, 0.21))
    left = smooth_step(verts[:, 0], -0.012, 0.012)

    # How much a vertex follows the subtree that starts at a joint, then the joint alone.
    subtree = np.zeros((len(verts), len(PARENTS)))
    subtree[:, 0] = 1.0
    for joint, parent in enumerate(PARENTS):
        if joint == 0:
            continue
        own = fractions[joint] if joint in fractions else fractions[JOINT_FLIP[joint]]
        if joint in (1, 2, 13, 14):
            own = own * (left if joint in (1, 13) else left[mirror])
        subtree[:, joint] = subtree[:, parent] * own
    weights = subtree.copy()
    for joint, parent in enumerate(PARENTS):
        if joint:
            weights[:, parent] -= subtree[:, joint]
    weights = np.maximum(weights, 0.0)
    for _ in range(4):
        weights = 0.5 * weights + 0.5 * (mean @ weights)
    weights = 0.5 * (weights + weights[mirror][:, JOINT_FLIP])
    surplus = np.sort(weights, axis=1)[:, -INFLUENCES - 1, None]
    weights = np.where((weights > surplus) & (weights > 0.004), weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def pose_dirs(verts: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pose-dependent corrections [verts 3 207] of the rest mesh that preserve volume at bends.

    Linear blend skinning averages positions, which makes bent joints thin. Averaging rotations
    (quaternions) instead keeps the distance of every point to the joint. For each joint, the
    difference is fitted by the nine numbers of R - 1, over rotations up to 120 degrees, and
    multiplied by `KEPT`.
    """
    axes = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    axes = axes[np.any(axes != 0, axis=1)].astype(np.float64)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    vectors = np.concatenate([axes * np.radians(angle) for angle in (40, 80, 120)])
    rotations = Rotation.from_rotvec(vectors)
    matrices, quaternions = rotations.as_matrix(), rotations.as_quat()
    features = (matrices - np.eye(3)).reshape(len(vectors), 9)
    fit = np.linalg.solve(features.T @ features + 1e-6 * np.eye(9), features.T)  # [9 rotations]

    out = np.zeros((len(verts), 3, 9 * (len(PARENTS) - 1)), dtype=np.float32)
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    below = descendants(PARENTS)
    for joint in range(1, len(PARENTS)):
        follows = weights[:, sorted([joint, *below[joint]])].sum(axis=1)
        ids = np.flatnonzero((follows > 0.01) & (follows < 0.99))
        w = follows[ids][:, None, None]
        local = verts[ids] - joints[joint]
        linear = (1 - w[:, None]) * np.eye(3) + w[:, None] * matrices[None]
        mixed = (1 - w) * identity + w * quaternions[None]
        rotated = Rotation.from_quat(mixed.reshape(-1, 4)).apply(
            np.repeat(local, len(vectors), axis=0)
        )
        target = rotated.reshape(len(ids), len(vectors), 3)
        correction = np.linalg.solve(linear, target[..., None])[..., 0] - local[:, None]
        out[ids, :, 9 * (joint - 1) : 9 * joint] = KEPT * np.einsum("fr,nri->nif", fit, correction)
    return out


def regressor_row(
    verts: np.ndarray, candidates: np.ndarray, prior: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Non-negative weights [verts] that sum to one and yield `target` [3] (to a micrometre).

    Only uses `candidates`; of all solutions, returns the one closest to weights proportional to
    `prior` [candidates].
    """
    prior = prior / prior.sum()
    local = verts[candidates] - target  # their weighted sum must be zero
    exact = np.concatenate([local.T / 0.1, np.ones((1, len(candidates)))])
    soft = np.diag(1e-3 / np.sqrt(prior))
    solution, _ = nnls(
        np.concatenate([exact, soft]), np.concatenate([[0.0, 0.0, 0.0, 1.0], 1e-3 * np.sqrt(prior)])
    )
    # Removes the remaining error of the soft constraints, within the vertices in use.
    used = solution > 1e-6
    exact, weights = exact[:, used], solution[used]
    goal = np.array([0.0, 0.0, 0.0, 1.0])
    scaled = exact * weights
    weights = weights + scaled.T @ np.linalg.solve(scaled @ exact.T, goal - exact @ weights)
    row = np.zeros(len(verts))
    row[candidates[used]] = weights
    return row
