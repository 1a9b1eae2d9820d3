"""The errors that the field reports, in millimetres, from positions in metres.

Functions take `[... joints 3]` with any leading axes, compute in float64 (except `pve`) and return
one error per frame, so that the caller decides what to average: frames with a mask, sequences,
subsets. Source: paper, section 4.1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

MILLIMETRES = 1000.0
AUC_THRESHOLDS = tuple(range(0, 151, 5))
"""mm; 31 of them. Source: Mehta et al., "Monocular 3D Human Pose Estimation In The Wild", 2017"""


def centre(points: np.ndarray, root: np.ndarray | tuple[int, ...]) -> np.ndarray:
    """Centres points `[... joints 3]` on the mean of the joints `root`.

    Mid-hip is `root=(2, 3)` in the 14-joint set and `root=(RIGHT_HIP, LEFT_HIP)` in the 49.
    """
    points = np.asarray(points, np.float64)
    return points - points[..., list(root), :].mean(axis=-2, keepdims=True)


def procrustes_align(
    pred: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """Aligns `pred` to `target` by translation, rotation and scale, separately for each frame.

    The least-squares similarity (Umeyama, 1991), without reflection. Points that all coincide are
    only translated; a frame with non-finite values stays non-finite and does not affect others.

    Args:
      pred, target: positions `[... joints 3]`; each index of the leading axes is a frame.
      valid: `[... joints]`, true for the joints that determine the transform (default: all).

    Returns:
      Aligned `pred`, float64 `[... joints 3]`.
    """
    pred, target = np.asarray(pred, np.float64), np.asarray(target, np.float64)
    if valid is None:
        valid = np.ones(pred.shape[:-1], bool)
    valid = np.asarray(valid, bool)[..., None]
    count = np.maximum(valid.sum(-2, keepdims=True), 1)
    pred_mean, target_mean = (
        np.where(valid, points, 0.0).sum(-2, keepdims=True) / count for points in (pred, target)
    )
    moved = pred - pred_mean
    x, y = np.where(valid, moved, 0.0), np.where(valid, target - target_mean, 0.0)
    covariance = x.swapaxes(-1, -2) @ y
    finite = np.isfinite(covariance).all((-1, -2), keepdims=True)  # SVD rejects the others
    u, singular, vt = np.linalg.svd(np.where(finite, covariance, 0.0))
    # If the best orthogonal map is a reflection, flip its weakest axis.
    sign = np.ones_like(singular)
    sign[..., -1] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt  # applies to row vectors
    spread = (x**2).sum((-1, -2))
    fits = (singular * sign).sum(-1)
    scale = np.divide(fits, spread, out=np.ones_like(spread), where=spread > 0)
    return scale[..., None, None] * (moved @ rotation) + target_mean


def distances(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Computes the Euclidean distance of each pair of points in metres, mm `[... points]`."""
    difference = np.asarray(pred, np.float64) - np.asarray(target, np.float64)
    return MILLIMETRES * np.linalg.norm(difference, axis=-1)


def mpjpe(pred: np.ndarray, target: np.ndarray, root: tuple[int, ...] = (2, 3)) -> np.ndarray:
    """Computes the mean per-joint position error of each frame, mm `[...]`.

    Args:
      pred, target: positions `[... joints 3]`, metres, each centred on its own `root`. If joints
        lack labels, use `mean_of_valid` of `distances` instead.
      root: as in `centre`.
    """
    return distances(centre(pred, root), centre(target, root)).mean(-1)


def pa_mpjpe(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Computes `mpjpe` after Procrustes alignment of each frame: `[... joints 3]` to `[...]`."""
    return distances(procrustes_align(pred, target), target).mean(-1)


def pck(errors: np.ndarray, valid: np.ndarray | None = None, threshold: float = 150) -> np.ndarray:
    """Computes the percentage of correct keypoints of each frame: those closer than `threshold`.

    Args:
      errors: distances `[... joints]`, mm, of joints centred on their root or aligned.
      valid: `[... joints]`, true where a joint counts. A frame without any is NaN.
      threshold: mm; at exactly this distance a joint is wrong, as in MPI-INF-3DHP's own script.
    """
    within = np.where(np.isnan(errors), np.nan, 100.0 * (np.asarray(errors) < threshold))
    return mean_of_valid(within, valid)


def auc(errors: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Computes the area under the curve: mean `pck` at 0, 5, 10, ..., 150 mm, percent `[...]`."""
    return np.mean([pck(errors, valid, threshold) for threshold in AUC_THRESHOLDS], axis=0)


def pve(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the per-vertex error of each frame, mm `[...]`, from `[... verts 3]` in metres.

    The original compares vertices as the body model places them, without translation. There are
    too many to fetch from the accelerator; their mean in float32 is accurate to 1e-4 mm.
    """
    return MILLIMETRES * jnp.linalg.norm(pred - target, axis=-1).mean(-1)


def acceleration(points: np.ndarray) -> np.ndarray:
    """Computes second differences over time, `[t ... 3]` to `[t-2 ... 3]`; empty if t < 3."""
    points = np.asarray(points, np.float64)
    return points[2:] - 2 * points[1:-1] + points[:-2]


def accel_error(
    pred: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """Computes the acceleration error of one sequence: `[t joints 3]` metres to mm/frame^2 `[t-2]`.

    Call it once per sequence. The original concatenates all sequences first, so that its
    differences cross their boundaries: to reproduce its numbers, concatenate before the call.
    Positions are compared as given; the original's are centred on the hips, see `centre`.

    Args:
      valid: bool `[t joints]`, true where a joint has labels (default: all). A joint counts where
        it has labels in three consecutive frames; an error without any such joint is NaN.
    """
    error = distances(acceleration(pred), acceleration(target))
    return mean_of_valid(error, None if valid is None else valid[2:] & valid[1:-1] & valid[:-2])


def mean_of_valid(errors: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Computes the mean of the valid values over the last axis, NaN if there are none."""
    if valid is None:
        return errors.mean(-1)
    valid = np.broadcast_to(np.asarray(valid, bool), errors.shape)
    count = valid.sum(-1)
    total = np.where(valid, errors, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
