"""Rotations: 6D, matrix, quaternion, axis-angle. Any leading axes; gradients are finite everywhere.

At removable singularities, the argument is replaced before the division or square root and the
result after it, because gradients pass through both branches of a `where`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_EPS = 1e-6  # in the normalisation of 6D vectors, as in SPIN
_SMALL = 1e-4  # squared angle below which two terms of a series are exact in float32


def _normalise(v: jax.Array) -> jax.Array:
    """v / max(|v|, 1e-6), [... 3]."""
    squared = jnp.sum(v * v, axis=-1, keepdims=True)
    long = squared > _EPS**2
    return v / jnp.where(long, jnp.sqrt(jnp.where(long, squared, 1.0)), _EPS)


def matrix_from_6d(sixd: jax.Array) -> jax.Array:
    """6D [... 6] to rotation matrices [... 3 3] by Gram-Schmidt.

    The six numbers are the first two columns of the matrix, row by row (SPIN's order). For zero or
    parallel vectors the result is not a rotation, but values and gradients are finite. Source: Zhou
    et al., 2019.
    """
    a1, a2 = sixd[..., 0::2], sixd[..., 1::2]
    b1 = _normalise(a1)
    b2 = _normalise(a2 - jnp.sum(b1 * a2, axis=-1, keepdims=True) * b1)
    return jnp.stack([b1, b2, jnp.cross(b1, b2)], axis=-1)


def quaternion_from_axis_angle(axis_angle: jax.Array) -> jax.Array:
    """Axis-angle [... 3], radians, to unit quaternions [... 4] (w, x, y, z)."""
    squared = jnp.sum(axis_angle * axis_angle, axis=-1, keepdims=True)
    small = squared < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))
    scale = jnp.where(small, 0.5 - squared / 48, jnp.sin(angle / 2) / angle)
    w = jnp.where(small, 1 - squared / 8, jnp.cos(angle / 2))
    return jnp.concatenate([w, scale * axis_angle], axis=-1)


def matrix_from_quaternion(quaternion: jax.Array) -> jax.Array:
    """Unit quaternions [... 4] (w, x, y, z) to rotation matrices [... 3 3]."""
    w, x, y, z = (quaternion[..., i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_from_axis_angle(axis_angle: jax.Array) -> jax.Array:
    """Axis-angle [... 3], radians, to rotation matrices [... 3 3]."""
    return matrix_from_quaternion(quaternion_from_axis_angle(jnp.asarray(axis_angle)))


def quaternion_from_matrix(matrix: jax.Array) -> jax.Array:
    """Rotation matrices [... 3 3] to quaternions [... 4] (w, x, y, z), w not negative.

    Of the four formulas, uses the one for the largest component: the number under its square root
    is at least 1 for any matrix, even if it is not a rotation. Source: Shepperd, 1978.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    xy, xz, yz = m[1][0] + m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2]
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    ww = 1 + m[0][0] + m[1][1] + m[2][2]
    xx = 1 + m[0][0] - m[1][1] - m[2][2]
    yy = 1 - m[0][0] + m[1][1] - m[2][2]
    zz = 1 - m[0][0] - m[1][1] + m[2][2]
    # Row i is 4 * q_i * q; its own entry is 4 * q_i^2.
    rows = [[ww, wx, wy, wz], [wx, xx, xy, xz], [wy, xy, yy, yz], [wz, xz, yz, zz]]
    largest, row = ww, jnp.stack(rows[0], axis=-1)
    for square, candidate in zip((xx, yy, zz), rows[1:]):
        better = square > largest
        row = jnp.where(better[..., None], jnp.stack(candidate, axis=-1), row)
        largest = jnp.where(better, square, largest)
    quaternion = row / (2 * jnp.sqrt(largest[..., None]))
    return jnp.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def axis_angle_from_quaternion(quaternion: jax.Array) -> jax.Array:
    """Quaternions [... 4] (w, x, y, z), w not negative, to axis-angle [... 3], angle at most pi."""
    w, v = quaternion[..., :1], quaternion[..., 1:]
    squared = jnp.sum(v * v, axis=-1, keepdims=True)
    small = squared < _SMALL
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    ratio = squared / jnp.where(small, w * w, 1.0)
    near = 2 / jnp.where(small, w, 1.0) * (1 - ratio / 3 + ratio * ratio / 5)
    return v * jnp.where(small, near, 2 * jnp.arctan2(sine, w) / sine)


def axis_angle_from_matrix(matrix: jax.Array) -> jax.Array:
    """Rotation matrices [... 3 3] to axis-angle [... 3], radians, angle at most pi.

    At exactly pi, the axis may have either sign. Gradients are finite everywhere.
    """
    return axis_angle_from_quaternion(quaternion_from_matrix(jnp.asarray(matrix)))
