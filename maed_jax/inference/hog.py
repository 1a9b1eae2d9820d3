"""The built-in detector: OpenCV's HOG person detector (Dalal and Triggs, CVPR 2005).

It needs no weights, and takes 80 to 190 ms per image on one CPU core, or 10 to 20 % of that where
people's rough positions are known. It is made for people who stand or walk, fully visible and seen
from about their own height.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from maed_jax.errors import UserError
from maed_jax.inference.detections import Detections, merge

WINDOW = np.array([64, 128])  # width, height in pixels that the detector was trained on
# The person in a window, as fractions of its size: people in the training images had a margin. On
# real videos these have no bias against YOLOX-Nano's boxes; on rendered ones little against truth.
PERSON_HEIGHT = 0.77
PERSON_CENTRE = np.array([0.5, 0.49])  # x, y from top left
PERSON_ASPECT = 0.5  # width over height of a window, and of our boxes
STRIDE = 8  # pixels between windows; also the side of the detector's cells
PADDING = 16  # pixels by which windows may extend beyond the image
SCALE_STEP = 1.05  # ratio of successive window sizes
HIT_THRESHOLD = 0.1  # SVM margin below which windows are ignored

NEAR = 0.3  # of a box's height: a centre within this, along each axis, is near the box
MAX_RATIO = 1.22  # larger over smaller height, up to which a window is of a box's size


class Windows(NamedTuple):
    """Where the detector found people in an image; many windows per person."""

    places: np.ndarray
    """float32 [n 4]: left, top, width, height in pixels, clipped to the image"""
    margins: np.ndarray
    """float32 [n]: SVM margins"""


class HogDetector:
    """OpenCV's HOG person detector, with tight boxes.

    A box is the mean of all windows that agree on a person, which is far steadier over time than
    the best window alone. Creating a detector turns off OpenCV's own threads in this process.
    """

    max_side = 640
    sure_score = 0.5
    detects_parts = True

    def __init__(self):
        import cv2

        # OpenCV 5 has it only in the contrib package.
        if not hasattr(cv2, "HOGDescriptor"):
            raise UserError(
                "this OpenCV has no HOG person detector: install opencv-contrib-python-headless, "
                "or opencv-python-headless below 5"
            )
        # With its own threads, OpenCV occasionally gives a window the score of another. This turns
        # them off for the whole process; our own threads search frames in parallel instead.
        cv2.setNumThreads(0)
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def __call__(self, image: np.ndarray) -> Detections:
        image = _at_least_a_window(image)
        return _people(self.windows(image), image.shape[1])

    def redetect_near(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        """Like a call, but only searches windows near `boxes` [n 4] and of their size."""
        image = _at_least_a_window(image)
        return _people(self.windows_near(image, boxes), image.shape[1])

    def windows(self, image: np.ndarray) -> Windows:
        """Returns all windows that show a person; the image must be at least one window large."""
        places, margins = self._hog.detectMultiScale(
            image,
            hitThreshold=HIT_THRESHOLD,
            winStride=(STRIDE, STRIDE),
            padding=(PADDING, PADDING),
            scale=SCALE_STEP,
            groupThreshold=0,
        )
        return Windows(
            np.asarray(places, np.float32).reshape(-1, 4),
            np.asarray(margins, np.float32).reshape(-1),
        )

    def windows_near(self, image: np.ndarray, boxes: np.ndarray) -> Windows:
        """Returns those of `windows` whose person would be near one of `boxes` and of its size."""
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        places, margins = [np.zeros((0, 4))], [np.zeros(0)]
        for scale in _scales(image.shape):
            ratio = boxes[:, 3] / (WINDOW[1] * PERSON_HEIGHT * scale)
            similar = boxes[np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)) <= MAX_RATIO]
            if len(similar):
                corners, found = self._search(image, scale, similar)
                corners = np.rint(corners * scale)
                places.append(
                    np.hstack([corners, np.tile(np.rint(WINDOW * scale), (len(found), 1))])
                )
                margins.append(found)
        low, size = np.split(np.concatenate(places), 2, axis=1)
        edge = image.shape[1::-1]
        low, high = np.clip(low, 0, edge), np.clip(low + size, 0, edge)
        valid = (high > low).all(axis=1)
        places = np.concatenate([low, high - low], axis=1)[valid]
        margins = np.concatenate(margins)[valid]
        return Windows(places.astype(np.float32), margins.astype(np.float32))

    def _search(
        self, image: np.ndarray, scale: float, boxes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Searches near `boxes` in the image scaled down by `scale`: corners [n 2], margins [n]."""
        import cv2

        size = np.rint(np.array(image.shape[1::-1]) / scale).astype(int)
        near_box = _near(size, scale, boxes)
        small = cv2.resize(image, size.tolist(), interpolation=cv2.INTER_LINEAR_EXACT)
        # One more cell all around, since gradients at an edge differ from those inside.
        border = PADDING + STRIDE
        small = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REFLECT_101)
        corners, margins = [np.zeros((0, 2), int)], [np.zeros(0)]
        labels, _ = ndimage.label(near_box)
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            low = np.array([columns.start, rows.start])
            high = np.array([columns.stop, rows.stop]) + WINDOW // STRIDE + 1
            (left, top), (right, bottom) = low * STRIDE, high * STRIDE
            points, weights = self._hog.detect(
                np.ascontiguousarray(small[top:bottom, left:right]),
                hitThreshold=HIT_THRESHOLD,
                winStride=(STRIDE, STRIDE),
                padding=(0, 0),
            )
            cells = low + np.reshape(points, (-1, 2)).astype(int) // STRIDE - 1
            cells = np.clip(cells, -1, np.array(near_box.shape[::-1]))  # outermost: no group
            in_group = np.pad(labels, 1)[cells[:, 1] + 1, cells[:, 0] + 1] == number
            corners.append(cells[in_group] * STRIDE - PADDING)
            margins.append(np.reshape(weights, -1)[in_group])
        return np.concatenate(corners), np.concatenate(margins)


def _at_least_a_window(image: np.ndarray) -> np.ndarray:
    import cv2

    width, height = np.maximum(WINDOW - image.shape[1::-1], 0)
    if not (width or height):
        return image
    return cv2.copyMakeBorder(image, 0, int(height), 0, int(width), cv2.BORDER_REPLICATE)


def _scales(shape: tuple[int, ...]) -> Iterator[float]:
    """Yields the factors by which OpenCV scales down an image [h w 3]."""
    scale = 1.0
    while (np.rint(np.array(shape[1::-1]) / scale) >= WINDOW).all():
        yield scale
        scale *= SCALE_STEP


def _near(size: np.ndarray, scale: float, boxes: np.ndarray) -> np.ndarray:
    """Returns bool [rows columns]: which windows of an image of `size` (width, height) would show
    somebody near `boxes` [n 4], given in pixels of the image before scaling down by `scale`."""
    near = []
    for axis in (0, 1):
        count = (size[axis] + 2 * PADDING - WINDOW[axis]) // STRIDE + 1
        centres = np.arange(count) * STRIDE - PADDING + WINDOW[axis] * PERSON_CENTRE[axis]
        near.append(np.abs(centres[:, None] * scale - boxes[:, axis]) <= NEAR * boxes[:, 3])
    across, down = near
    return (down[:, None] & across[None]).any(axis=-1)


def _people(windows: Windows, width: int) -> Detections:
    """Returns the people in an image of this `width`: one for all windows that agree."""
    x, y, w, h = windows.places.T
    # A window that extended beyond the top or bottom lost height; its other edge is right.
    full_h = np.maximum(h, w / PERSON_ASPECT)
    y, h = np.where(y <= 0, y + h - full_h, y), full_h
    full_w = np.maximum(w, h * PERSON_ASPECT)
    # A window that extended beyond the left or right lost width; its other edge is right.
    cut = [x <= 0, x + w >= width]
    centre_x = np.select(cut, [x + w - full_w / 2, x + full_w / 2], x + w / 2)
    height = h * PERSON_HEIGHT
    boxes = np.stack([centre_x, y + h * PERSON_CENTRE[1], height * PERSON_ASPECT, height], axis=-1)
    return merge(boxes, windows.margins)
