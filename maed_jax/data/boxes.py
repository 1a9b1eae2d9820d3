"""Boxes around people: centre x, centre y, width, height, in pixels of the image."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter


def box_from_keypoints(
    points: np.ndarray, *, visible_above: float = 0.3, margin: float = 1.1, diagonal: bool = False
) -> np.ndarray:
    """Returns square boxes `[... 4]` around keypoints.

    Args:
      points: `[... n 2]` in pixels, or `[... n 3]` with a confidence.
      visible_above: keypoints with at most this confidence are ignored.
      margin: side of the box as a multiple of the longer side of the keypoints' extent.
      diagonal: whether `margin` is a multiple of the extent's diagonal instead, which hardly
        changes when a person lies down.

    Returns:
      Float64 boxes; NaN where no keypoint is visible or all coincide.
    """
    points = np.asarray(points, np.float64)
    visible = np.ones(points.shape[:-1], bool)
    if points.shape[-1] > 2:
        visible = points[..., 2] > visible_above
    visible = (visible & np.isfinite(points[..., :2]).all(-1))[..., None]
    low = np.where(visible, points[..., :2], np.inf).min(-2)
    high = np.where(visible, points[..., :2], -np.inf).max(-2)
    has_box = np.isfinite(low).all(-1, keepdims=True)
    low, high = np.where(has_box, low, 0.0), np.where(has_box, high, 0.0)
    extent = high - low
    side = np.hypot(*np.moveaxis(extent, -1, 0)) if diagonal else extent.max(-1)
    side = side[..., None] * margin
    box = np.concatenate([(low + high) / 2, side, side], -1)
    return np.where(has_box & (side > 0), box, np.nan)


def smooth_boxes(
    boxes: np.ndarray, *, median: int = 11, sigma: float = 8.0, zero_padded: bool = False
) -> np.ndarray:
    """Smooths the boxes of one track `[t 4]` over time; returns float64 `[t 4]`.

    Gaps (rows that are not finite, or have no size) are filled linearly; then a median filter of
    `median` frames removes outliers, and a Gaussian with a sigma of `sigma` frames removes jitter.
    Sizes are smoothed as reciprocals, that is, as the zoom of the crops. Before the first known box
    and after the last one, the nearest smoothed box is held.

    Args:
      zero_padded: pad the median filter with zeros, as the original does: this pulls the first and
        last five boxes towards the smallest values nearby. By default, and if a track is so short
        that only zeros would remain, the end values are repeated.

    Raises:
      ValueError: no box is known.
    """
    boxes = np.asarray(boxes, np.float64)
    known = np.isfinite(boxes).all(-1) & (boxes[:, 2:] > 0).all(-1)
    if not known.any():
        raise ValueError("a track without a single box")
    rows = np.flatnonzero(known)
    span = np.arange(rows[0], rows[-1] + 1)
    values = np.c_[boxes[known, :2], 1 / boxes[known, 2:]]
    filled = np.stack([np.interp(span, rows, column) for column in values.T], axis=1)
    mode = "constant" if zero_padded and len(span) > median // 2 else "nearest"
    filled = median_filter(filled, size=(median, 1), mode=mode, cval=0.0)
    smooth = gaussian_filter1d(filled, sigma, axis=0)
    smooth = smooth[np.clip(np.arange(len(boxes)), span[0], span[-1]) - span[0]]
    return np.c_[smooth[:, :2], 1 / smooth[:, 2:]]
