"""A mesh for rendering and export: vertex normals, and few joints per vertex."""

from __future__ import annotations

import numpy as np
from scipy import sparse

INFLUENCES = 4  # joints per vertex: the limit of viewers, and SMPL never has more


class Surface:
    """The constant part of a moving mesh: its triangles, and those that meet at each vertex."""

    def __init__(self, faces: np.ndarray, verts: int):
        """
        Args:
          faces: [f 3] vertex indices.
          verts: number of vertices.
        """
        self.faces = np.ascontiguousarray(faces, np.int64)
        self.verts = verts
        self._corners = np.ascontiguousarray(self.faces.T)
        rows = self._corners.reshape(-1)
        columns = np.tile(np.arange(len(self.faces)), 3)
        ones = np.ones(len(rows), np.float32)
        self._gather = sparse.csr_matrix((ones, (rows, columns)), shape=(verts, len(self.faces)))

    def normals(self, verts: np.ndarray) -> np.ndarray:
        """Unit normals [verts 3] at vertices [verts 3], as area-weighted means over triangles."""
        a, b, c = (verts.take(corners, axis=0) for corners in self._corners)
        u, v = b - a, c - a
        cross = np.empty_like(u)  # np.cross is several times slower
        cross[:, 0] = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
        cross[:, 1] = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
        cross[:, 2] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        total = self._gather @ cross
        length = np.sqrt(np.einsum("vi,vi->v", total, total))
        return total / np.maximum(length, 1e-12)[:, None]


def strongest_weights(skin_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `INFLUENCES` strongest joints of each vertex, uint8 [verts 4], and their weights, float32
    [verts 4], normalised to sum to one. Joints with weight 0 are 0."""
    joints = np.argsort(-skin_weights, axis=1, kind="stable")[:, :INFLUENCES]
    weights = np.take_along_axis(skin_weights, joints, axis=1).astype(np.float64)
    weights = np.maximum(weights, 0)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.where(weights > 0, joints, 0).astype(np.uint8), weights
