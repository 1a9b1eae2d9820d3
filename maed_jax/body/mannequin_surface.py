"""From an implicit function to a closed, even, mirror-symmetric triangle mesh.

Surface nets (one vertex per grid cell that the surface crosses) on a grid that is bent so that
hands, head and feet get smaller cells, then steps that even the triangles out along the surface and
put every vertex exactly on it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

PITCH = 0.0258  # metres between samples where the grid is not magnified


def _step(x, low, high):
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


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
    return 1.0 - 0.62 * _step(x, 0.62, 0.72)


def _rate_y(y):
    return 1.0 - 0.56 * _step(y, 0.26, 0.36) - 0.35 * (1 - _step(y, -1.12, -1.02))


def grid() -> tuple[np.ndarray, tuple[int, int, int]]:
    """Sample points [nx ny nz 3] of the left half, the first two layers at x = +-half a pitch."""
    xs = _axis_map(0.0, 0.90, _rate_x, 0.5 * PITCH)[1:]
    xs = np.concatenate([[-xs[0]], xs])
    ys = _axis_map(FLOOR_Y - 0.02, 0.58, _rate_y, 0.0)
    zs = np.arange(-0.46, 0.46, PITCH)
    x, y, z = np.meshgrid(xs, ys, zs, indexing="ij")
    hand = _step(x, 0.62, 0.72)
    head = _step(y, 0.26, 0.36) * (1 - hand)
    foot = 1 - _step(y, -1.12, -1.0)
    real_y = y + hand * (0.213 + (y - 0.213) * 0.30 - y)
    real_z = z + hand * (-0.032 + z * 0.18 - z) + head * (0.022 + z * 0.43 - z)
    real_z = real_z + foot * (0.03 + z * 0.72 - z)
    real_x = x * (1.0 - 0.58 * head)
    return np.stack([real_x, real_y, real_z], axis=-1)


FLOOR_Y = -1.15

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
    """Makes every cell a single sheet, in place, so that the mesh is a manifold.

    Where the corners of a cell's face have signs like a chess board, surface nets would join sheets
    that merely pass close to each other: the corner nearest to the surface changes sides.
    """

    def corner(offset):
        return tuple(slice(o, n - 1 + o) for o, n in zip(offset, values.shape))

    for _ in range(10):
        before = values.copy()
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
        if np.array_equal(values, before):
            return


def surface_nets(points: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [verts 3] and outward quads [q 4] of the zero set of values [nx ny nz] at points."""
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
        leaves = first[tuple(where.T)]  # outward is +axis
        quads.append(np.where(leaves[:, None], quad, quad[:, ::-1]))
    return verts, np.concatenate(quads)


def normals(verts: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit vertex normals [verts 3]."""
    a, b, c = (verts[faces[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros_like(verts)
    for i in range(3):
        np.add.at(total, faces[:, i], face)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def neighbour_mean(faces: np.ndarray, verts: int) -> sparse.csr_matrix:
    """Sparse matrix [verts verts] that replaces each vertex by the mean of its neighbours."""
    sides = faces.shape[1]
    pairs = np.concatenate([faces[:, [i, (i + 1) % sides]] for i in range(sides)])
    rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
    cols = np.concatenate([pairs[:, 1], pairs[:, 0]])
    graph = sparse.csr_matrix((np.ones(len(rows)), (rows, cols)), shape=(verts, verts))
    graph.data[:] = 1.0
    return sparse.diags(1.0 / graph.sum(axis=1).A1) @ graph


def _gradient(distance, points, eps=2e-4):
    """Value and gradient by a tetrahedral stencil, [n] and [n 3]."""
    stencil = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], dtype=np.float64)
    samples = points[None] + eps * stencil[:, None]
    values = distance(samples.reshape(-1, 3)).reshape(4, -1)
    return values.mean(axis=0), np.einsum("sn,si->ni", values, stencil) / (4 * eps)


def extract(
    distance: Callable[[np.ndarray], np.ndarray], rounds: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mesh the zero set of a mirror-symmetric distance function.

    Returns vertices [verts 3], outward triangles [f 3] and mirror [verts]: the index of each
    vertex's mirror partner across x = 0 (its own index on the middle line). Positions are exactly
    symmetric.
    """
    points = grid()
    values = distance(points.reshape(-1, 3)).reshape(points.shape[:3])
    _untangle(values)
    verts, quads = surface_nets(points, values)

    # The first cell layer straddles x = 0; its vertices are on the middle line by symmetry.
    layer = _first_layer(values)
    middle = np.zeros(len(verts), dtype=bool)
    middle[:layer] = True
    verts[middle, 0] = 0.0

    half = len(verts)
    partner = np.arange(half)
    partner[~middle] = half + np.arange(half - layer)
    mirror = np.concatenate([partner, np.flatnonzero(~middle)])
    all_quads = np.concatenate([quads, partner[quads][:, ::-1]])
    incidence = sparse.csr_matrix(
        (np.ones(all_quads.size), (all_quads.ravel(), np.arange(all_quads.size) // 4)),
        shape=(len(mirror), len(all_quads)),
    )[:half]

    flip = np.array([-1.0, 1.0, 1.0])
    for _ in range(rounds):
        full = np.concatenate([verts, verts[~middle] * flip])
        corner = full[all_quads]
        across = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
        area = np.linalg.norm(across, axis=1, keepdims=True)
        move = (incidence @ (corner.mean(axis=1) * area)) / (incidence @ area) - verts
        value, slope = _gradient(distance, verts)
        length = np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
        normal = slope / length
        move -= normal * np.einsum("ni,ni->n", move, normal)[:, None]
        verts = verts + 0.6 * move - normal * np.clip(value[:, None] / length, -0.01, 0.01)
        verts[middle, 0] = 0.0
    for _ in range(2):
        value, slope = _gradient(distance, verts)
        length = np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
        verts = verts - slope / length * np.clip(value[:, None] / length, -0.01, 0.01)
        verts[middle, 0] = 0.0

    corner = verts[quads]
    first = ((corner[:, 0] - corner[:, 2]) ** 2).sum(1) <= ((corner[:, 1] - corner[:, 3]) ** 2).sum(
        1
    )
    triangles = np.where(
        first[:, None], quads[:, [0, 1, 2, 0, 2, 3]], quads[:, [1, 2, 3, 1, 3, 0]]
    ).reshape(-1, 3)
    faces = np.concatenate([triangles, partner[triangles][:, ::-1]])
    verts = np.concatenate([verts, verts[~middle] * flip])
    return verts, faces.astype(np.int32), mirror


def _first_layer(values):
    inside = values[:2] < 0.0
    count = sum(
        inside[i, j : inside.shape[1] - 1 + j, k : inside.shape[2] - 1 + k].astype(int)
        for i, j, k in _CORNERS
    )
    return int(((count > 0) & (count < 8)).sum())
