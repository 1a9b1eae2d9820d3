"""Person detectors from ONNX files: YOLOX, RT-DETR and others, as their own projects export them.

How to feed a file and read its answer is told from the names and shapes of its outputs (below), for
detectors trained on COCO's classes or on people alone. They run in ONNX Runtime, the reference for
the format; OpenCV's own reader lacks operators of RT-DETR.

| outputs | exported by | picture |
| --- | --- | --- |
| one, `[b anchors 5+classes]`, decoded or not | YOLOX | BGR 0..255, padded |
| `dets [b n 5]`, `labels [b n]` | MMDeploy (YOLOX with suppression) | the same |
| one, `[b 4+classes anchors]` | Ultralytics (YOLOv8 to YOLO12) | RGB 0..1, padded on both sides |
| one, `[b n 6]` | Ultralytics (YOLOv10, YOLO26) | the same |
| `labels [b n]`, `boxes [b n 4]`, `scores [b n]` | RT-DETR, D-FINE | RGB 0..1, stretched |
| `logits [b n classes]`, `pred_boxes [b n 4]` | Hugging Face (RT-DETR, D-FINE) | the same |
| `dets [b n 4]`, `labels [b n classes]` | RF-DETR | RGB, ImageNet-normalised, stretched |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maed_jax.data.images import MEAN, STD
from maed_jax.errors import UserError, reason
from maed_jax.inference.detections import Detections, merge

SIZE = 640  # pixels, sides of the picture where the file leaves them open
PAD = 114  # the grey around a picture that YOLOX and others were trained with
OVERLAP = 0.65  # of boxes (intersection over union) from which on they are the same person
FED = {"tensor(float)": np.float32, "tensor(float16)": np.float16}  # what a picture may be

Outputs = dict[str, np.ndarray]


class OnnxDetector:
    """A detector in an ONNX file; see `detections.Detector`."""

    sure_score = 0.5
    detects_parts = False
    weakest = 0.1

    def __init__(self, path: str | Path):
        """Loads the file.

        Raises:
          UserError: ONNX Runtime is not installed, the file cannot be read, its outputs are
            those of no detector that is known here, or it takes several pictures at once, or none
            of floating-point numbers.
        """
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                f"{path} needs ONNX Runtime: install it with "
                "pip install '.[onnx]' in the source folder"
            ) from None
        if not Path(path).is_file():
            raise UserError(f"there is no detector file {path}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:
            raise UserError(f"{path} cannot be read as an ONNX model: {reason(error)}") from None
        inputs = self._session.get_inputs()
        image = next((i for i in inputs if len(i.shape) == 4), None)
        shapes = {output.name: tuple(output.shape) for output in self._session.get_outputs()}
        self._names = list(shapes)
        size = image.shape[2:] if image is not None else ()
        self._size = tuple(n if isinstance(n, int) and n > 0 else SIZE for n in size)
        kind = _kind(shapes, self._size) if image is not None else None
        if kind is None:
            raise UserError(
                f"{path} has the outputs {', '.join(shapes)}, which match no known detector "
                "(docs/prediction.md in the source folder lists them); give boxes with --boxes "
                "instead"
            )
        batch = image.shape[0]
        if image.type not in FED or (isinstance(batch, int) and batch > 1):
            raise UserError(
                f"{path} takes {image.type} {image.shape}; export it for one picture, or for any "
                f"number of them, as {' or '.join(FED)}"
            )
        self._path, self._type = path, FED[image.type]
        self._prepare, self._read = kind
        self._image, self._others = image.name, [i.name for i in inputs if i is not image]
        self.max_side = max(self._size)

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds people in a uint8 [h w 3] RGB picture.

        Raises:
          UserError: the model fails, or its answers are not those of a known detector.
        """
        fed, scale, offset = self._prepare(image, self._size)
        corners, scores = self._answer(fed)
        keep = scores >= self.weakest
        low, high = ((corners[keep, part] - offset) / scale for part in (slice(2), slice(2, 4)))
        edge = np.array(image.shape[1::-1], np.float32)
        low, high = np.clip(low, 0, edge), np.clip(high, 0, edge)
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
        real = (boxes[:, 2:] >= 2).all(axis=1)
        return merge(boxes[real], scores[keep][real].astype(np.float32), OVERLAP)

    def redetect_near(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        """As a call: a network sees the whole picture or nothing."""
        return self(image)

    def _answer(self, fed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners [n 4] and scores [n] of what the model finds; see the readers below."""
        feed: dict[str, Any] = {self._image: fed.astype(self._type)}
        for name in self._others:  # RT-DETR's own export scales its boxes to this: width, height
            feed[name] = np.array([[self._size[1], self._size[0]]], np.int64)
        try:
            outputs = self._session.run(None, feed)
            # Halves are too coarse to reckon in: whole pixels from 1024 on.
            outputs = [a.astype(np.float32) if a.dtype == np.float16 else a for a in outputs]
            corners, scores = self._read(dict(zip(self._names, outputs)), self._size)
            if corners.shape != (*scores.shape, 4):
                raise ValueError(f"its boxes are {corners.shape} and its scores {scores.shape}")
        except Exception as error:
            raise UserError(
                f"{self._path} fails as a detector ({reason(error)}); give another, or boxes"
            ) from None
        return corners, scores


# Each makes of a picture what a detector is fed, `[1 3 h w]`; a pixel p of the picture is then at
# p * scale + offset (x, y).
Fed = tuple[np.ndarray, np.ndarray, np.ndarray]


def _pad(image: np.ndarray, size: tuple[int, int]) -> Fed:
    """Scales a picture to fit into `size` (height, width), grey to the right and below; BGR."""
    canvas, scale, offset = _on_grey(image, size, 0)
    return _channels_first(canvas[..., ::-1]), scale, offset


def _pad_evenly(image: np.ndarray, size: tuple[int, int]) -> Fed:
    """The same with the grey on both sides; RGB from 0 to 1."""
    canvas, scale, offset = _on_grey(image, size, 0.5)
    return _channels_first(canvas / np.float32(255)), scale, offset


def _stretch(image: np.ndarray, size: tuple[int, int]) -> Fed:
    """Scales a picture to `size` (height, width), whatever its shape; RGB from 0 to 1."""
    fed = cv2.resize(image, size[::-1]) / np.float32(255)
    return _channels_first(fed), np.array(size[::-1]) / image.shape[1::-1], np.zeros(2)


def _stretch_normalised(image: np.ndarray, size: tuple[int, int]) -> Fed:
    """The same with ImageNet's mean and deviation taken out."""
    fed, scale, offset = _stretch(image, size)
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    return (fed - mean) / deviation, scale, offset


def _on_grey(image: np.ndarray, size: tuple[int, int], before: float) -> Fed:
    """before: the share of the grey that goes to the left and above."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    y, x = int((size[0] - height) * before), int((size[1] - width) * before)
    canvas = np.full((*size, 3), PAD, np.uint8)
    canvas[y : y + height, x : x + width] = cv2.resize(image, (width, height))
    return canvas, np.array([width, height]) / image.shape[1::-1], np.array([x, y])


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


# Each reads a file's outputs for one picture of `size` (height, width): corners [n 4] (left, top,
# right, bottom) in its pixels and scores [n].


def _yolox(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    (rows,) = outputs.values()
    rows = rows[0].astype(np.float32)
    cells, strides = _grid(size)
    if len(cells) == len(rows) and rows[:, 2:4].max() < 20:  # logarithms, not yet pixels
        centre = (rows[:, :2] + cells) * strides
        extent = np.exp(rows[:, 2:4]) * strides
    else:
        centre, extent = rows[:, :2], rows[:, 2:4]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return corners, rows[:, 4] * rows[:, 5]  # that there is something, and that it is a person


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The cells [n 2] (x, y) of YOLOX's three grids, and the pixels [n 1] between them."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(cells), np.concatenate(strides)


def _yolox_boxes(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    people = outputs["labels"][0] == 0
    rows = outputs["dets"][0][people].astype(np.float32)
    return rows[:, :4], rows[:, 4]


def _yolo(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    (columns,) = outputs.values()
    centre, extent = columns[0, :2].T, columns[0, 2:4].T
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1), columns[0, 4]


def _yolo_boxes(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    (rows,) = outputs.values()
    people = rows[0][rows[0, :, 5] == 0]
    return people[:, :4], people[:, 4]


def _rt_detr(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    people = outputs["labels"][0] == 0
    return outputs["boxes"][0][people], outputs["scores"][0][people]


def _rt_detr_logits(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return _from_logits(outputs["logits"][0], outputs["pred_boxes"][0], size)


def _rf_detr(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return _from_logits(outputs["labels"][0], outputs["dets"][0], size)


def _from_logits(
    logits: np.ndarray, boxes: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """logits [n classes], boxes [n 4] centre and extent from 0 to 1."""
    person = 1 if logits.shape[1] == 91 else 0  # COCO's own numbers begin with 1
    scores = 1 / (1 + np.exp(-logits[:, person]))
    centre, extent = boxes[:, :2], boxes[:, 2:]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return corners * np.array([size[1], size[0]] * 2), scores


def _kind(shapes: dict[str, tuple], size: tuple[int, int]) -> tuple[Callable, Callable] | None:
    """What feeds a file and what reads its outputs; None for no known detector.

    Args:
      shapes: of the outputs, by name; axes that a file leaves open are no whole numbers.
      size: height and width of what it is fed.
    """
    ranks = {name: len(shape) for name, shape in shapes.items()}
    if ranks.keys() >= {"labels", "boxes", "scores"}:
        return _stretch, _rt_detr
    if ranks.keys() >= {"logits", "pred_boxes"}:
        return _stretch, _rt_detr_logits
    if ranks.keys() >= {"dets", "labels"} and ranks["dets"] == 3:
        return (_pad, _yolox_boxes) if ranks["labels"] == 2 else (_stretch_normalised, _rf_detr)
    if list(ranks.values()) != [3]:
        return None
    ((_, rows, columns),) = shapes.values()
    if isinstance(rows, int) and not (isinstance(columns, int) and columns <= rows):
        return _pad_evenly, _yolo  # a few numbers for each of many anchors, and not the reverse
    if isinstance(rows, int) and columns == 6 and rows != len(_grid(size)[0]):
        return _pad_evenly, _yolo_boxes
    return _pad, _yolox
