"""Person detectors from ONNX files: YOLOX and RT-DETR, as their own projects export them.

How to feed a file and read its answer is told from the names and shapes of its outputs (below), for
detectors trained on COCO's classes or on people alone. They run in ONNX Runtime, the reference for
the format; OpenCV's own reader lacks operators of RT-DETR.

| outputs | exported by | picture |
| --- | --- | --- |
| one, `[b anchors 5+classes]`, decoded or not | YOLOX | BGR 0..255, padded |
| `dets [b n 5]`, `labels [b n]` | MMDeploy (YOLOX with suppression) | the same |
| `labels [b n]`, `boxes [b n 4]`, `scores [b n]` | RT-DETR | RGB 0..1, stretched |
| `logits [b n classes]`, `pred_boxes [b n 4]` | Hugging Face (RT-DETR) | the same |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maed_jax.errors import UserError
from maed_jax.inference.detect import Detections, merge

SIZE = 640  # pixels, sides of the picture where the file leaves them open
PAD = 114  # the grey around a picture that YOLOX was trained with
OVERLAP = 0.65  # of boxes (intersection over union) from which on they are the same person

Outputs = dict[str, np.ndarray]


class OnnxDetector:
    """A detector in an ONNX file; see `detect.Detector`."""

    sure = 0.5
    weakest = 0.1

    def __init__(self, path: str | Path):
        """Loads the file.

        Raises:
          UserError: ONNX Runtime is not installed, the file cannot be read, or its outputs are
            those of no detector that is known here.
        """
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                f"{path} needs ONNX Runtime: install it with pip install 'maed_jax[onnx]'"
            ) from None
        if not Path(path).is_file():
            raise UserError(f"there is no detector file {path}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # onnxruntime has its own for every kind of failure
            line = str(error).strip().splitlines()[0][:150]
            raise UserError(f"{path} cannot be read as an ONNX model: {line}") from None
        inputs = self._session.get_inputs()
        image = next((i for i in inputs if len(i.shape) == 4), None)
        self._names = [output.name for output in self._session.get_outputs()]
        ranks = {o.name: len(o.shape) for o in self._session.get_outputs()}
        self._read = next((read for fits, read in _KINDS if fits(ranks)), None)
        if image is None or self._read is None:
            raise UserError(
                f"{path} has the outputs {', '.join(ranks)}, which are not those of YOLOX or "
                "RT-DETR (docs/prediction.md lists them); give boxes with --boxes in its place"
            )
        self._padded = self._read in (_yolox, _yolox_boxes)
        self._image, self._others = image.name, [i.name for i in inputs if i is not image]
        self._size = tuple(n if isinstance(n, int) and n > 0 else SIZE for n in image.shape[2:])
        self.longest = max(self._size)

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds people in a uint8 [h w 3] RGB picture."""
        fed, scale = (_pad if self._padded else _stretch)(image, self._size)
        feed: dict[str, Any] = {self._image: fed}
        for name in self._others:  # RT-DETR's own export scales its boxes to this: width, height
            feed[name] = np.array([[self._size[1], self._size[0]]], np.int64)
        outputs = dict(zip(self._names, self._session.run(None, feed)))
        corners, scores = self._read(outputs, self._size)
        keep = scores >= self.weakest
        low, high = corners[keep, :2] / scale, corners[keep, 2:] / scale
        edge = np.array(image.shape[1::-1], np.float32)
        low, high = np.clip(low, 0, edge), np.clip(high, 0, edge)
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
        real = (boxes[:, 2:] >= 2).all(axis=1)
        return merge(boxes[real], scores[keep][real].astype(np.float32), OVERLAP)


def _pad(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scales a picture to fit into `size` (height, width), grey to the right and below; BGR."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    canvas = np.full((*size, 3), PAD, np.uint8)
    canvas[:height, :width] = cv2.resize(image, (width, height))
    fed = canvas[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    return np.ascontiguousarray(fed), np.array([width, height]) / image.shape[1::-1]


def _stretch(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scales a picture to `size` (height, width), whatever its shape; RGB."""
    fed = cv2.resize(image, size[::-1]).transpose(2, 0, 1)[None].astype(np.float32) / 255
    return np.ascontiguousarray(fed), np.array(size[::-1]) / image.shape[1::-1]


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


def _rt_detr(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    people = outputs["labels"][0] == 0
    return outputs["boxes"][0][people], outputs["scores"][0][people]


def _rt_detr_logits(outputs: Outputs, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    logits, boxes = outputs["logits"][0], outputs["pred_boxes"][0]
    person = 1 if logits.shape[1] == 91 else 0  # COCO's own numbers begin with 1
    scores = 1 / (1 + np.exp(-logits[:, person]))
    centre, extent = boxes[:, :2], boxes[:, 2:]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return corners * np.array([size[1], size[0]] * 2), scores


# Whether a file's outputs ({name: number of axes}) are of a kind, and what reads them.
_KINDS: tuple[tuple[Callable[[dict[str, int]], bool], Callable], ...] = (
    (lambda ranks: ranks.keys() >= {"labels", "boxes", "scores"}, _rt_detr),
    (lambda ranks: ranks.keys() >= {"logits", "pred_boxes"}, _rt_detr_logits),
    (lambda ranks: ranks.keys() >= {"dets", "labels"} and ranks["dets"] == 3, _yolox_boxes),
    (lambda ranks: list(ranks.values()) == [3], _yolox),
)
