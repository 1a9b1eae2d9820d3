"""Finding people in a single picture.

A detector is anything that maps a picture to `Detections`. Built in is OpenCV's HOG person detector
(Dalal and Triggs, CVPR 2005): no weights to fetch, 80 to 190 ms a frame on one CPU core, made for
people who stand or walk, seen whole and from about their own height.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from maed_jax.errors import UserError

DETECTORS = ("hog",)


class Detections(NamedTuple):
    """People found in one picture, best first."""

    boxes: np.ndarray
    """float32 [n 4]: centre x, centre y, width, height of the person, pixels, no margin"""
    scores: np.ndarray
    """float32 [n]: the detector's own measure; comparable within one detector only"""


class Detector(Protocol):
    """What tracking needs to know of a detector."""

    longest: int
    """pictures are scaled so that no side exceeds this, pixels, before `__call__` sees them"""
    sure: float
    """a score from which on a box is taken for a person without other evidence"""
    parts: bool
    """whether it takes parts of people for people"""

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds people in a uint8 [h w 3] RGB picture; called by several threads at once."""
        ...


def make_detector(name: str) -> Detector:
    """The built-in detector of that name, or the one in an ONNX file, whose name ends in .onnx.

    Raises:
      UserError: there is none, or the file is not that of a known detector.
    """
    if name == "hog":
        return HogDetector()
    if name.lower().endswith(".onnx"):
        from maed_jax.inference.onnx_detector import OnnxDetector

        return OnnxDetector(name)
    raise UserError(
        f"there is no detector {name!r}; choose {', '.join(DETECTORS)} or an .onnx file"
    )


class HogDetector:
    """OpenCV's HOG person detector, its boxes made tight.

    Its window has a margin: the people that it was trained on fill about 0.8 of its height. Boxes
    are the mean of all windows that agree on a person, which is far steadier over time than the
    best window alone. To make one takes OpenCV's own threads away from this process.
    """

    longest = 640
    sure = 0.5
    parts = True
    weakest = 0.1
    """windows below this SVM margin are not even evidence"""
    person_height = 0.8
    """of the window's height"""
    person_centre = 0.48
    """of the window's height, from its top"""
    person_aspect = 0.5
    """width over height of a window (64 x 128 pixels), and of our boxes"""

    def __init__(self):
        import cv2

        # OpenCV 5 has it in the contrib package only.
        if not hasattr(cv2, "HOGDescriptor"):
            raise UserError(
                "this OpenCV has no HOG person detector: install opencv-contrib-python-headless, "
                "or opencv-python-headless below 5"
            )
        # With threads of its own OpenCV now and then gives a window the score of another. From here
        # on it has none in this process; frames are looked at in threads of ours instead.
        cv2.setNumThreads(0)
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def __call__(self, image: np.ndarray) -> Detections:
        import cv2

        if min(image.shape[0] / 128, image.shape[1] / 64) < 1:  # smaller than one window
            image = cv2.copyMakeBorder(
                image,
                0,
                max(0, 128 - image.shape[0]),
                0,
                max(0, 64 - image.shape[1]),
                cv2.BORDER_REPLICATE,
            )
        windows, scores = self._hog.detectMultiScale(
            image,
            hitThreshold=self.weakest,
            winStride=(8, 8),
            padding=(16, 16),
            scale=1.05,
            groupThreshold=0,
        )
        windows = np.asarray(windows, np.float32).reshape(-1, 4)
        scores = np.asarray(scores, np.float32).reshape(-1)
        return merge(self._tight(windows, image.shape[1]), scores)

    def _tight(self, windows: np.ndarray, width: int) -> np.ndarray:
        """Windows [n 4] (left, top, width, height; OpenCV cuts them at the edges) to boxes."""
        x, y, w, h = windows.T
        full = np.maximum(w, h * self.person_aspect)
        # A window that stuck out on the left or right lost width there, but not its centre.
        centre_x = np.where(
            x <= 0, x + w - full / 2, np.where(x + w >= width, x + full / 2, x + w / 2)
        )
        tall = h * self.person_height
        return np.stack(
            [centre_x, y + h * self.person_centre, tall * self.person_aspect, tall], axis=-1
        )


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
