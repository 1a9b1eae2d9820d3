"""What a predictor knows that never looks: the mean pose and shape of the training set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError


def mean_pose(records: Iterable[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over all records with labels: rotations `[24 3 3]` and betas `[10]`, float32.

    Rotations, the root's too, are averaged in the chordal metric: the rotation nearest to the mean
    of the matrices. No picture is decoded.

    Args:
      records: with `pose [72]` axis-angle, `shape [10]` and `has_smpl`.

    Raises:
      UserError: none has labels.
    """
    poses, shapes = [], []
    for record in records:
        if record["has_smpl"]:
            poses.append(record["pose"])
            shapes.append(record["shape"])
    if not poses:
        raise UserError("there is no pose to average: no record of the training split has labels")
    rotations = Rotation.from_rotvec(np.reshape(poses, (-1, 3))).as_matrix()
    mean = rotations.reshape(len(poses), 24, 3, 3).mean(axis=0)
    return nearest_rotation(mean).astype(np.float32), np.mean(shapes, axis=0).astype(np.float32)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to each matrix `[... 3 3]` in the Frobenius norm; never a mirror."""
    u, _, vt = np.linalg.svd(matrix)
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt
