"""Chooses the frames of a track that make a clip; arithmetic on lengths, no frame is read.

A track is extended past its end by reflection: 0 1 2 3 2 1 0 1 2 ... (the last frame is not
repeated, except that of a track of one frame). The original pads a track to a multiple of the
window in the same way.
"""

from __future__ import annotations

import numpy as np
from einops import rearrange


def reflect(indices: np.ndarray, length: int) -> np.ndarray:
    """Maps frame indices from 0 on into a track of `length` frames by reflection."""
    if length < 1:
        raise ValueError(f"a track of {length} frames")
    period = max(2 * (length - 1), 1)
    folded = np.asarray(indices, np.int64) % period
    return np.minimum(folded, period - folded)


def window_starts(length: int, window: int, stride: int) -> np.ndarray:
    """Returns the first frame of each window of consecutive frames, int64, before reflection.

    Args:
      length: number of frames in the track, which is extended to a multiple of `window`.
      window: number of frames in a window.
      stride: number of frames from the start of one window to the next.
    """
    if min(window, stride) < 1:
        raise ValueError(f"window {window} and stride {stride} must be positive")
    total = -(-length // window) * window
    return np.arange(0, total - window + 1, stride, dtype=np.int64)


def sample_clip(window: np.ndarray, clip_length: int, start: int) -> np.ndarray:
    """Takes every k-th frame of a window `[window]` from `start` on, k = window // clip_length.

    `start` is less than k; in training it is random.
    """
    interval = len(window) // clip_length
    if not 0 <= start < interval:
        raise ValueError(f"start {start} of an interval of {interval} frames")
    return window[start::interval][:clip_length]


def eval_windows(length: int, clip_length: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns clips that cover a track, with every frame counted once.

    The track, its end padded by reflection, is cut into windows of `clip_length * stride` frames,
    and each window into `stride` interleaved clips: with a stride of 8, frames 0, 8, 16, ..., then
    1, 9, 17, ... Clips that are all padding are left out.

    Returns:
      Indices into the track, int64 `[clips clip_length]`, and a mask of the same shape that is true
      the first time a frame appears.
    """
    if length < 1:
        raise ValueError(f"a track of {length} frames")
    span = clip_length * stride
    position = np.arange(-(-length // span) * span, dtype=np.int64)
    clips = rearrange(position, "(windows t s) -> (windows s) t", t=clip_length, s=stride)
    first_time = clips < length
    kept = first_time.any(axis=1)
    return reflect(clips[kept], length), first_time[kept]


def sparse_windows(
    length: int, clip_length: int, stride: int, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns clips of every `every`-th frame of the windows that `eval_windows` makes of a track.

    The frames in between are for interpolation, see `evaluation.interpolation`. Padding is kept:
    the last frames of a track are interpolated towards it.

    Args:
      every: must divide `stride`.

    Returns:
      Indices into the track, and indices among the chosen frames of the padded track, both int64
      `[clips clip_length]`; each of the latter appears once.
    """
    if length < 1 or stride % every:
        raise ValueError(f"every {every} of a track of {length} frames at stride {stride}")
    span = clip_length * stride
    chosen = np.arange(0, -(-length // span) * span, every, dtype=np.int64)
    clips = rearrange(chosen, "(windows t s) -> (windows s) t", t=clip_length, s=stride // every)
    return reflect(clips, length), clips // every
