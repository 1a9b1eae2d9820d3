"""What a predictor knows that never looks: the mean pose and shape of the training set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError

FIELDS = ("has_smpl", "pose", "shape")  # of a record, that `mean_pose` reads


def mean_pose(records: Iterable[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over all records with labels: rotations `[24 3 3]` and betas `[10]`, float32.

    Rotations, the root's too, are averaged in the chordal metric: the rotation nearest to the mean
    of the matrices. No picture is decoded.

    Args:
      records: with `FIELDS`: `pose [72]` axis-angle, `shape [10]` and `has_smpl`. Numbers that are
        not finite are no labels.

    Raises:
      UserError: none has labels.
    """
    rotations, shapes, count = np.zeros((24, 3, 3)), np.zeros(10), 0
    for record in records:
        pose, shape = record["pose"], record["shape"]
        if record["has_smpl"] and np.isfinite(pose).all() and np.isfinite(shape).all():
            rotations += Rotation.from_rotvec(pose.reshape(24, 3)).as_matrix()
            shapes += shape
            count += 1
    if not count:
        raise UserError("there is no pose to average: no record of the training split has labels")
    rotation = nearest_rotation(rotations / count)
    return rotation.astype(np.float32), (shapes / count).astype(np.float32)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to each matrix `[... 3 3]` in the Frobenius norm; never a mirror."""
    u, _, vt = np.linalg.svd(matrix)
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt
