"""A baseline that ignores the images: the mean pose and shape of the training split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError

FIELDS = ("has_smpl", "pose", "shape")  # what `mean_pose` reads of a record


def mean_pose(records: Iterable[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean over all labelled records: rotations `[24 3 3]` and betas `[10]`, float32.

    Rotations, including the root's, are averaged in the chordal metric: the result is the rotation
    nearest to the mean of the matrices. No image is decoded.

    Args:
      records: with `FIELDS`: `pose [72]` axis-angle, `shape [10]` and `has_smpl`. Records with
        non-finite values are ignored.

    Raises:
      UserError: no record has labels.
    """
    rotations, shapes, count = np.zeros((24, 3, 3)), np.zeros(10), 0
    for record in records:
        pose, shape = record["pose"], record["shape"]
        if record["has_smpl"] and np.isfinite(pose).all() and np.isfinite(shape).all():
            rotations += Rotation.from_rotvec(pose.reshape(24, 3)).as_matrix()
            shapes += shape
            count += 1
    if not count:
        raise UserError("no pose to average: no record of the training split has labels")
    rotation = nearest_rotation(rotations / count)
    return rotation.astype(np.float32), (shapes / count).astype(np.float32)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Returns the nearest rotation to each matrix `[... 3 3]` (Frobenius norm, no reflections)."""
    u, _, vt = np.linalg.svd(matrix)
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt
