"""Turns an implicit function into a closed, even, mirror-symmetric triangle mesh.

Uses surface nets (one vertex per grid cell that the surface crosses) on a grid deformed to have
smaller cells at hands, head and feet, followed by steps that even out the triangles along the
surface and put every vertex exactly on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from maed_jax.body.mannequin_anatomy import FLOOR, smooth_step

PITCH = 0.0258  # metres between samples where the grid is not refined


def _axis_map(lo: float, hi: float, rate: Callable[[np.ndarray], np.ndarray], zero: float):
    """Samples from `lo` to `hi`, one of them at `zero`, PITCH * rate(position) apart."""
    up, down = [zero], [zero]
    while up[-1] < hi:
        middle = up[-1] + 0.5 * PITCH * float(rate(np.array(up[-1])))
        up.append(up[-1] + PITCH * float(rate(np.array(middle))))
    while down[-1] > lo:
        middle = down[-1] - 0.5 * PITCH * float(rate(np.array(down[-1])))
        down.append(down[-1] - PITCH * float(rate(np.array(middle))))
    return np.array(down[:0:-1] + up)


def _rate_x(x):
    return 1.0 - 0.62 * smooth_step(x, 0.62, 0.72)


def _rate_y(y):
    return 1.0 - 0.56 * smooth_step(y, 0.26, 0.36) - 0.35 * (1 - smooth_step(y, -1.12, -1.02))


def grid() -> np.ndarray:
    """Sample points [nx ny nz 3] of the left half, the first two layers at x = +-half a pitch."""
    xs = _axis_map(0.0, 0.90, _rate_x, 0.5 * PITCH)[1:]
    xs = np.concatenate([[-xs[0]], xs])
    ys = _axis_map(FLOOR - 0.02, 0.58, _rate_y, 0.0)
    zs = np.arange(-0.46, 0.46, PITCH)
    x, y, z = np.meshgrid(xs, ys, zs, indexing="ij")
    arm, hand = smooth_step(x, 0.20, 0.34), smooth_step(x, 0.62, 0.72)
    head = smooth_step(y, 0.26, 0.36) * (1 - arm)
    foot = 1 - smooth_step(y, -1.12, -1.0)
    real_y = 0.213 + (y - 0.213) * (1 - 0.26 * arm - 0.44 * hand)
    real_z = z * (1 - 0.26 * arm - 0.56 * hand - 0.57 * head - 0.28 * foot)
    real_z += -0.032 * arm + 0.022 * head + 0.030 * foot
    real_x = x * (1.0 - 0.58 * head)
    return np.stack([real_x, real_y, real_z], axis=-1)


_CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
_EDGES = np.array(
    [
        (a, b)
        for a in range(8)
        for b in range(8)
        if a < b and abs(_CORNERS[a] - _CORNERS[b]).sum() == 1
    ]
)


def _untangle(values: np.ndarray) -> None:
    """Makes the surface a single sheet in every cell, in place, so that the mesh is a manifold.

    Where the corners of a cell's face have alternating signs, surface nets would join sheets that
    merely pass close to each other; so the sign of the corner closest to the surface is flipped.
    """

    def corner(offset):
        return tuple(slice(o, n - 1 + o) for o, n in zip(offset, values.shape))

    for _ in range(10):
        previous = values.copy()
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            steps = np.eye(3, dtype=int)
            face = []
            for offset in (0 * steps[u], steps[u], steps[u] + steps[v], steps[v]):
                index = list(corner(offset))
                index[axis] = slice(None)
                face.append(values[tuple(index)])  # a view
            inside = [view < 0 for view in face]
            across = (inside[0] == inside[2]) & (inside[1] == inside[3])
            for where in np.argwhere(across & (inside[0] != inside[1])):
                nearest = min(face, key=lambda view: abs(view[tuple(where)]))
                nearest[tuple(where)] = np.copysign(1e-5, -nearest[tuple(where)])
        values[0] = values[1]  # the mirror image of the first layer
        if np.array_equal(values, previous):
            return


def surface_nets(
    points: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Meshes the zero set of values [nx ny nz] at points [nx ny nz 3].

    Returns vertices [verts 3], outward quads [q 4], and the grid cell of each vertex [verts 3], in
    ascending order.
    """
    inside = values < 0.0
    shape = np.array(values.shape) - 1
    count = np.zeros(shape, dtype=np.int8)
    for i, j, k in _CORNERS:
        count += inside[i : i + shape[0], j : j + shape[1], k : k + shape[2]]
    cells = np.argwhere((count > 0) & (count < 8))
    index = np.full(shape, -1)
    index[tuple(cells.T)] = np.arange(len(cells))

    corner = cells[:, None, :] + _CORNERS
    corner = (corner[..., 0], corner[..., 1], corner[..., 2])
    corner_value, corner_point = values[corner], points[corner]
    a, b = _EDGES.T
    value_a, value_b = corner_value[:, a], corner_value[:, b]
    crosses = (value_a < 0) != (value_b < 0)
    t = np.where(crosses, value_a / np.where(crosses, value_a - value_b, 1.0), 0.0)[..., None]
    crossing = corner_point[:, a] * (1 - t) + corner_point[:, b] * t
    weight = crosses / crosses.sum(axis=1, keepdims=True)
    verts = np.einsum("ce,cei->ci", weight, crossing)

    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        first = np.take(inside, range(values.shape[axis] - 1), axis=axis)
        second = np.take(inside, range(1, values.shape[axis]), axis=axis)
        where = np.argwhere(first != second)
        where = where[(where[:, u] > 0) & (where[:, v] > 0)]
        where = where[(where[:, u] < shape[u]) & (where[:, v] < shape[v])]
        ring = []
        for du, dv in ((1, 1), (0, 1), (0, 0), (1, 0)):
            cell = where.copy()
            cell[:, u] -= du
            cell[:, v] -= dv
            ring.append(index[tuple(cell.T)])
        quad = np.stack(ring, axis=1)
        outward = first[tuple(where.T)]  # outward is +axis
        quads.append(np.where(outward[:, None], quad, quad[:, ::-1]))
    return verts, np.concatenate(quads), cells


def neighbour_mean(faces: np.ndarray, verts: int) -> sparse.csr_matrix:
    """Sparse matrix [verts verts] that replaces each vertex by the mean of its neighbours."""
    sides = faces.shape[1]
    pairs = np.concatenate([faces[:, [i, (i + 1) % sides]] for i in range(sides)])
    rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
    cols = np.concatenate([pairs[:, 1], pairs[:, 0]])
    graph = sparse.csr_matrix((np.ones(len(rows)), (rows, cols)), shape=(verts, verts))
    graph.data[:] = 1.0
    return sparse.diags(1.0 / graph.sum(axis=1).A1) @ graph


def _gradient(distance, points):
    """Value [n] and gradient [n 3], from a tetrahedral stencil."""
    eps = 2e-4  # metres
    stencil = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], dtype=np.float64)
    samples = points[None] + eps * stencil[:, None]
    values = distance(samples.reshape(-1, 3)).reshape(4, -1)
    return values.mean(axis=0), np.einsum("sn,si->ni", values, stencil) / (4 * eps)


Field = Callable[[np.ndarray], np.ndarray]


def _newton(field: Field, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit gradients [n 3], and the steps [n 3] along them to the field's zero set."""
    value, slope = _gradient(field, points)
    length = np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    normal = slope / length
    return normal, -normal * np.clip(value[:, None] / length, -0.01, 0.01)


def _snap(seam: Field, verts: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """The vertices [n] to put on a seam: the nearer end of each edge that crosses it."""
    side = seam(verts)
    a, b = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    across = side[a] * side[b] < 0.0
    a, b = a[across], b[across]
    return np.unique(np.where(np.abs(side[a]) <= np.abs(side[b]), a, b))


class _Half:
    """The left half of a mesh of quads; the right half is its mirror image.

    The first `middle` vertices lie on x = 0. Mirror images of the others follow after the half.
    """

    def __init__(self, verts: np.ndarray, quads: np.ndarray, middle: int):
        self.verts, self.quads, self.middle = verts, quads, middle
        verts[:middle, 0] = 0.0
        self.partner = np.arange(len(verts))
        self.partner[middle:] += len(verts) - middle
        self.all_quads = np.concatenate([quads, self.partner[quads][:, ::-1]])
        self.pinned = np.full(len(verts), -1)  # the seam that a vertex lies on, or -1
        pairs = (self.all_quads.ravel(), np.arange(self.all_quads.size) // 4)
        shape = (2 * len(verts) - middle, len(self.all_quads))
        incidence = sparse.csr_matrix((np.ones(self.all_quads.size), pairs), shape=shape)
        self.incidence = incidence[: len(verts)]

    def full(self) -> np.ndarray:
        return np.concatenate([self.verts, self.verts[self.middle :] * (-1.0, 1.0, 1.0)])

    def relaxation(self) -> np.ndarray:
        """Steps [half 3] to the mean of the adjacent quads' centres, weighted by their areas."""
        corner = self.full()[self.all_quads]
        cross = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
        area = np.linalg.norm(cross, axis=1, keepdims=True)
        centers = self.incidence @ (corner.mean(axis=1) * area)
        return centers / (self.incidence @ area) - self.verts

    def relax(self, distance: Field, seams: Sequence[Field], rate: float) -> None:
        """Moves vertices by fraction `rate` towards even quads, within the surface and seams."""
        move = rate * self.relaxation()
        normal, step = _newton(distance, self.verts)
        move -= normal * (move * normal).sum(axis=1, keepdims=True)
        self.verts = self.verts + move + step
        for index, seam in enumerate(seams):
            ids = np.flatnonzero(self.pinned == index)
            for _ in range(2):
                slope, step = _newton(seam, self.verts[ids])
                # Step within the surface; lengthened, as only part of the direction lies in it.
                cosine = (slope * normal[ids]).sum(axis=1, keepdims=True)
                tangent = slope - normal[ids] * cosine
                step = (step * slope).sum(axis=1, keepdims=True) * tangent
                step = step / np.maximum(1.0 - cosine**2, 0.1)
                self.verts[ids] += np.where(np.isfinite(step), step, 0.0)
        self.verts[: self.middle, 0] = 0.0

    def triangles(self, distance: Field, seams: Sequence[Field]) -> np.ndarray:
        """Splits quads into triangles [f 3], the right half mirroring the left.

        Chooses the diagonal that crosses fewer seams, or if equal, the one closer to the surface.
        """
        quads = self.quads
        corner = self.verts[quads]
        middles = np.concatenate([corner[:, 0] + corner[:, 2], corner[:, 1] + corner[:, 3]]) / 2
        first, second = np.abs(distance(middles)).reshape(2, -1)
        for index, seam in enumerate(seams):
            side = np.where(self.pinned == index, 0.0, np.sign(seam(self.verts)))[quads]
            first = first + (side[:, 0] * side[:, 2] < 0)
            second = second + (side[:, 1] * side[:, 3] < 0)
        split = np.where(
            (first <= second)[:, None], quads[:, [0, 1, 2, 0, 2, 3]], quads[:, [1, 2, 3, 1, 3, 0]]
        ).reshape(-1, 3)
        return np.concatenate([split, self.partner[split][:, ::-1]]).astype(np.int32)


def extract(
    distance: Field, seams: Sequence[Field] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Meshes the zero set of a mirror-symmetric distance function.

    Args:
      distance: [n 3] -> [n], negative inside.
      seams: functions [n 3] -> [n] along whose zero sets the mesh gets edges, so that colours can
        change along clean lines; NaN where a seam does not apply.

    Returns:
      Vertices [verts 3], outward triangles [f 3] and mirror [verts]: the index of each vertex's
      mirror image across x = 0 (its own on the middle line). Positions are exactly symmetric.
    """
    points = grid()
    values = distance(points.reshape(-1, 3)).reshape(points.shape[:3])
    _untangle(values)
    verts, quads, cells = surface_nets(points, values)
    # The first layer of cells straddles x = 0; by symmetry its vertices are on the middle line.
    half = _Half(verts, quads, middle=int((cells[:, 0] == 0).sum()))
    for _ in range(8):
        half.relax(distance, (), rate=0.6)
    for index, seam in enumerate(seams):
        half.pinned[_snap(seam, half.verts, quads)] = index
    for rate in (0.4, 0.4, 0.4, 0.0, 0.0):
        half.relax(distance, seams, rate)
    mirror = np.concatenate([half.partner, np.arange(half.middle, len(half.partner))])
    return half.full(), half.triangles(distance, seams), mirror
