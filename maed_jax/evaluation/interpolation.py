"""Predictions of every n-th frame stretched over all frames, as the original does.

A window of `span` frames has n = span / every predictions, of its frames 0, every, 2 every, ...
The original takes them for samples at 1/n, 2/n, ..., 1 and reads the line through them at `span`
points from 0 to 1, ends included: frame i lies at i n / (span - 1) - 1 among the predictions. So
the first frames are extrapolated, and every frame shows what was predicted for an earlier one, from
`every` frames before at the start of a window to `every` - 1 at its end. That is kept, because it
is what the original's figures with interpolation mean.
"""

from __future__ import annotations

import numpy as np


def neighbours(length: int, span: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each frame of a track lies among its predictions.

    Args:
      length: frames of the track, which is padded to whole windows of `span` frames.
      every: one prediction for so many frames.

    Returns:
      The prediction before each frame, int64 `[length]`, and the weight of the one after it,
      float64 `[length]`; negative where a frame lies before the first.
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


def stretch(values: np.ndarray, length: int, span: int, every: int) -> np.ndarray:
    """Values `[predictions ...]` of a track, interpolated to its frames `[length ...]`."""
    if every == 1:
        return values[:length]
    before, weight = neighbours(length, span, every)
    after = np.minimum(before + 1, len(values) - 1)
    weight = weight.reshape(-1, *[1] * (values.ndim - 1))
    return values[before] * (1 - weight) + values[after] * weight
