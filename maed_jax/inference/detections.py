"""What detectors of people have in common. A detector maps a single picture to `Detections`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Detections(NamedTuple):
    """People found in one picture, best first."""

    boxes: np.ndarray
    """float32 [n 4]: centre x, centre y, width, height of the person, pixels, no margin"""
    scores: np.ndarray
    """float32 [n]: the detector's own measure; comparable within one detector only"""


NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class Detector(Protocol):
    """What tracking needs to know of a detector."""

    max_side: int
    """pictures are scaled so that no side exceeds this, pixels, before `__call__` sees them"""
    sure_score: float
    """a score from which on a box is taken for a person without other evidence"""
    detects_parts: bool
    """whether it takes parts of people for people"""

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds people in a uint8 [h w 3] RGB picture; called by several threads at once."""
        ...

    def redetect_near(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        """Finds those of them who are near `boxes` [n 4], faster where it can; maybe others too."""
        ...


def merge(boxes: np.ndarray, scores: np.ndarray, overlap: float = 0.4) -> Detections:
    """Non-maximum suppression in which the suppressed have a vote.

    Each box that survives becomes the mean, weighed by score, of those that it suppressed: all that
    overlap it by more than `overlap` (intersection over union). It keeps its own score.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = np.asarray(boxes, np.float32)[order], np.asarray(scores, np.float32)[order]
    ratio = iou(boxes, boxes)
    free = np.ones(len(boxes), bool)
    kept, means = [], []
    for i in range(len(boxes)):
        if free[i]:
            group = free & (ratio[i] > overlap)
            group[i] = True
            weight = np.maximum(scores[group], 1e-3)
            means.append((boxes[group] * weight[:, None]).sum(0) / weight.sum())
            kept.append(i)
            free &= ~group
    return Detections(np.array(means, np.float32).reshape(-1, 4), scores[kept])


def iou(a: np.ndarray, b: np.ndarray, over: str = "union") -> np.ndarray:
    """Intersection over union [n m] of boxes [n 4] and [m 4] (centre x, centre y, width, height).

    over: "union", or "first": the share of each box of `a` that lies in each of `b`.
    """
    a, b = np.asarray(a, np.float64).reshape(-1, 1, 4), np.asarray(b, np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = np.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    inside = np.prod(np.maximum(high - low, 0), axis=-1)
    area_a, area_b = a[..., 2] * a[..., 3], b[..., 2] * b[..., 3]
    return inside / np.maximum(area_a if over == "first" else area_a + area_b - inside, 1e-9)
