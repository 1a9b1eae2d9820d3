"""Person detectors from ONNX files: YOLOX, RT-DETR and others, as exported by their own projects.

A file's outputs (names and shapes, below) determine preprocessing and decoding; it must have been
trained on COCO's classes or on people alone. Files run in ONNX Runtime, the format's reference
implementation; OpenCV's reader lacks operators of RT-DETR.

| outputs | exported by | image |
| --- | --- | --- |
| one, `[b anchors 5+classes]`, decoded or not | YOLOX | BGR 0..255, padded |
| `dets [b n 5]`, `labels [b n]` | MMDeploy (YOLOX with suppression) | the same |
| one, `[b 4+classes anchors]` | Ultralytics (YOLOv8 to YOLO12) | RGB 0..1, padded on both sides |
| one, `[b n 6]` | Ultralytics (YOLOv10, YOLO26) | the same |
| `labels [b n]`, `boxes [b n 4]`, `scores [b n]` | RT-DETR, D-FINE, DEIM | RGB 0..1, stretched |
| `logits [b n classes]`, `pred_boxes [b n 4]` | Hugging Face (RT-DETR, D-FINE) | the same |
| `dets [b n 4]`, `labels [b n classes]` | RF-DETR | RGB, ImageNet-normalised, stretched |

DEIMv2's models with DINOv3 have the outputs of RT-DETR but expect normalised images: not supported.
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
from maed_jax.machine import available_cores
from maed_jax.threads import THREADS

SIZE = 640  # pixels, height and width if the file leaves them open
PAD = 114  # grey level of the padding that YOLOX and others were trained with
OVERLAP = 0.65  # intersection over union above which boxes are the same person
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}  # supported input types

Outputs = dict[str, np.ndarray]


class OnnxDetector:
    """A detector in an ONNX file; see `detections.Detector`."""

    sure_score = 0.5
    detects_parts = False
    weakest = 0.1

    def __init__(self, path: str | Path):
        """Loads the file.

        Raises:
          UserError: ONNX Runtime is not installed, the file cannot be read, its outputs match no
            known detector, or its input is a batch of fixed size above 1 or is not floating-point.
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
        # `map_in_threads` searches several frames at once, which is faster than several threads
        # for each.
        options.intra_op_num_threads = max(1, available_cores() // THREADS)
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
        kind = _kind(shapes, self._size, len(inputs)) if image is not None else None
        if kind is None:
            raise UserError(
                f"{path} has the outputs {', '.join(shapes)}, which match no known detector "
                "(docs/prediction.md in the source folder lists them); pass boxes with --boxes "
                "instead"
            )
        batch = image.shape[0]
        if image.type not in INPUT_TYPES or (isinstance(batch, int) and batch > 1):
            raise UserError(
                f"{path} takes {image.type} {image.shape}; export it for one image, or for any "
                f"number of them, as {' or '.join(INPUT_TYPES)}"
            )
        self._path, self._type = path, INPUT_TYPES[image.type]
        self._preprocess, self._decode = kind
        self._image, self._others = image.name, [i.name for i in inputs if i is not image]
        self.max_side = max(self._size)

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds people in a uint8 [h w 3] RGB image.

        Raises:
          UserError: the model fails, or its outputs are not those of a known detector.
        """
        tensor, scale, offset = self._preprocess(image, self._size)
        corners, scores = self._infer(tensor)
        confident = scores >= self.weakest
        corners, scores = corners[confident], scores[confident]
        low, high = ((corners[:, part] - offset) / scale for part in (slice(2), slice(2, 4)))
        edge = np.array(image.shape[1::-1], np.float32)
        low, high = np.clip(low, 0, edge), np.clip(high, 0, edge)
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
        large = (boxes[:, 2:] >= 2).all(axis=1)
        return merge(boxes[large], scores[large].astype(np.float32), OVERLAP)

    def redetect_near(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        """Like a call: a network always sees the whole image."""
        return self(image)

    def _infer(self, tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns corners [n 4] and scores [n] from the model's outputs; see the readers below."""
        inputs: dict[str, Any] = {self._image: tensor.astype(self._type)}
        for name in self._others:  # RT-DETR's export scales boxes to this width, height
            inputs[name] = np.array([[self._size[1], self._size[0]]], np.int64)
        try:
            outputs = self._session.run(None, inputs)
            # float16 is too coarse for coordinates: only whole pixels from 1024 up.
            outputs = [a.astype(np.float32) if a.dtype == np.float16 else a for a in outputs]
            corners, scores = self._decode(dict(zip(self._names, outputs)), self._size)
            if corners.shape != (*scores.shape, 4):
                raise ValueError(f"its boxes are {corners.shape} and its scores {scores.shape}")
        except Exception as error:
            raise UserError(
                f"{self._path} fails as a detector ({reason(error)}); try another, or pass boxes"
            ) from None
        return corners, scores


# Each function turns an image into a detector's input, `[1 3 h w]`; pixel p (x, y) of the image
# then becomes p * scale + offset.
Preprocessed = tuple[np.ndarray, np.ndarray, np.ndarray]


def _pad(image: np.ndarray, size: tuple[int, int]) -> Preprocessed:
    """Scales an image to fit into `size` (height, width), padded at right and bottom; BGR."""
    canvas, scale, offset = _on_grey(image, size, 0)
    return _channels_first(canvas[..., ::-1]), scale, offset


def _pad_evenly(image: np.ndarray, size: tuple[int, int]) -> Preprocessed:
    """Likewise, padded on both sides; RGB from 0 to 1."""
    canvas, scale, offset = _on_grey(image, size, 0.5)
    return _channels_first(canvas / np.float32(255)), scale, offset


def _stretch(image: np.ndarray, size: tuple[int, int]) -> Preprocessed:
    """Scales an image to `size` (height, width), ignoring its aspect ratio; RGB from 0 to 1."""
    tensor = cv2.resize(image, size[::-1]) / np.float32(255)
    return _channels_first(tensor), np.array(size[::-1]) / image.shape[1::-1], np.zeros(2)


def _stretch_normalised(image: np.ndarray, size: tuple[int, int]) -> Preprocessed:
    """Likewise, normalised with ImageNet's mean and standard deviation."""
    tensor, scale, offset = _stretch(image, size)
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    return (tensor - mean) / deviation, scale, offset


def _on_grey(image: np.ndarray, size: tuple[int, int], before: float) -> Preprocessed:
    """before: fraction of the padding that goes to the left and top."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    y, x = int((size[0] - height) * before), int((size[1] - width) * before)
    canvas = np.full((*size, 3), PAD, np.uint8)
    canvas[y : y + height, x : x + width] = cv2.resize(image, (width, height))
    return canvas, np.array([width, height]) / image.shape[1::-1], np.array([x, y])


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


# Each function reads a file's outputs for one image of `size` (height, width): corners [n 4] (left,
# top, right, bottom) in its pixels, and scores [n].


def _yolox(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    (rows,) = outputs.values()
    rows = rows[0].astype(np.float32)
    cells, strides = _grid(size)
    if len(cells) == len(rows) and rows[:, 2:4].max() < 20:  # not decoded: logarithms, not pixels
        centre = (rows[:, :2] + cells) * strides
        extent = np.exp(rows[:, 2:4]) * strides
    else:
        centre, extent = rows[:, :2], rows[:, 2:4]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return corners, rows[:, 4] * rows[:, 5]  # objectness times person class


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cells [n 2] (x, y) of YOLOX's three grids, and their sides [n 1] in pixels."""
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
    labels, boxes, scores = outputs["labels"], outputs["boxes"], outputs["scores"]
    if labels.ndim > 1:  # some exports have no batch axis
        labels, boxes, scores = labels[0], boxes[0], scores[0]
    people = labels == 0
    return boxes[people], scores[people]


def _rt_detr_logits(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return _from_logits(outputs["logits"][0], outputs["pred_boxes"][0], size)


def _rf_detr(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return _from_logits(outputs["labels"][0], outputs["dets"][0], size)


def _from_logits(
    logits: np.ndarray, boxes: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """logits: [n classes]; boxes: [n 4] centre and size, as fractions of the image."""
    person = 1 if logits.shape[1] == 91 else 0  # COCO's own ids start at 1
    scores = 1 / (1 + np.exp(-logits[:, person]))
    centre, extent = boxes[:, :2], boxes[:, 2:]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return corners * np.array([size[1], size[0]] * 2), scores


def _kind(
    shapes: dict[str, tuple], size: tuple[int, int], inputs: int = 1
) -> tuple[Callable, Callable] | None:
    """Returns the functions that prepare inputs and read outputs; None for an unknown detector.

    Args:
      shapes: of the outputs, by name; dynamic axes are not ints.
      size: height and width of the image.
      inputs: their number.
    """
    ranks = {name: len(shape) for name, shape in shapes.items()}
    if ranks.keys() >= {"labels", "boxes", "scores"}:
        # torchvision's detectors have the same outputs, but take no sizes, and people are class 1.
        return (_stretch, _rt_detr) if inputs == 2 else None
    if ranks.keys() >= {"logits", "pred_boxes"}:
        return _stretch, _rt_detr_logits
    if ranks.keys() >= {"dets", "labels"} and ranks["dets"] == 3:
        return (_pad, _yolox_boxes) if ranks["labels"] == 2 else (_stretch_normalised, _rf_detr)
    if list(ranks.values()) != [3]:
        return None
    ((_, rows, columns),) = shapes.values()
    if isinstance(rows, int) and not (isinstance(columns, int) and columns <= rows):
        return _pad_evenly, _yolo  # few rows of many anchors, not many rows of few
    if isinstance(rows, int) and columns == 6 and rows != len(_grid(size)[0]):
        return _pad_evenly, _yolo_boxes
    return _pad, _yolox
