"""The interface of person detectors: a detector maps an image to `Detections`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Detections(NamedTuple):
    """People found in one image; detectors return the best first."""

    boxes: np.ndarray
    """float32 [n 4]: centre x, centre y, width, height of the person, pixels, no margin"""
    scores: np.ndarray
    """float32 [n]: the detector's own score; comparable only within one detector"""


NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class Detector(Protocol):
    """What tracking needs from a detector."""

    max_side: int
    """images are scaled down before `__call__` so that no side exceeds this, pixels"""
    sure_score: float
    """least score of a box that counts as a person without other evidence"""
    detects_parts: bool
    """whether it detects parts of people as people"""

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds people in a uint8 [h w 3] RGB image; called by several threads at once."""
        ...

    def redetect_near(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        """Finds people near `boxes` [n 4], faster if it can; may also return others."""
        ...


def merge(boxes: np.ndarray, scores: np.ndarray, overlap: float = 0.4) -> Detections:
    """Non-maximum suppression with averaging.

    Each surviving box becomes the mean, weighted by score, of itself and the boxes that it
    suppresses: those whose intersection over union with it exceeds `overlap`. It keeps its score.
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

    over: "union", or "first": the fraction of each box of `a` that lies inside each of `b`.
    """
    a, b = np.asarray(a, np.float64).reshape(-1, 1, 4), np.asarray(b, np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = np.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    inside = np.prod(np.maximum(high - low, 0), axis=-1)
    area_a, area_b = a[..., 2] * a[..., 3], b[..., 2] * b[..., 3]
    return inside / np.maximum(area_a if over == "first" else area_a + area_b - inside, 1e-9)
