"""Predictions of every K-th frame, interpolated to all frames as in the original.

A window of `span` frames has n = span / every predictions, for its frames 0, every, 2 every, ...
The original treats them as samples at 1/n, 2/n, ..., 1 and interpolates linearly at `span` points
from 0 to 1, ends included: frame i is at position i n / (span - 1) - 1 among the predictions. So
the first frames are extrapolated, and every frame shows what was predicted for an earlier one, from
`every` frames before at the start of a window to `every` - 1 at its end. We reproduce this because
the original's figures with interpolation include it.
"""

from __future__ import annotations

import numpy as np


def neighbours(length: int, span: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Locates each frame of a track among its predictions.

    Args:
      length: frames of the track, which is padded to whole windows of `span` frames.
      every: frames per prediction.

    Returns:
      The index of the prediction before each frame, int64 `[length]`, and the weight of the one
      after it, float64 `[length]`; negative before the first prediction of a window.
    """
    frame = np.arange(length, dtype=np.int64)
    if every == 1:
        return frame, np.zeros(length)
    predictions = span // every
    window, place = np.divmod(frame, span)
    if predictions == 1:
        return window, np.zeros(length)
    position = place * predictions / (span - 1) - 1
    before = np.clip(np.floor(position), 0, predictions - 2).astype(np.int64)
    return window * predictions + before, position - before


def interpolate(values: np.ndarray, length: int, span: int, every: int) -> np.ndarray:
    """Interpolates values `[predictions ...]` of a track to its frames `[length ...]`."""
    if every == 1:
        return values[:length]
    before, weight = neighbours(length, span, every)
    after = np.minimum(before + 1, len(values) - 1)
    weight = weight.reshape(-1, *[1] * (values.ndim - 1))
    return values[before] * (1 - weight) + values[after] * weight
