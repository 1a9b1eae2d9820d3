"""Detectors of people by name."""

from __future__ import annotations

from maed_jax.errors import UserError
from maed_jax.inference.detections import Detector
from maed_jax.inference.hog import HogDetector
from maed_jax.inference.onnx_detector import OnnxDetector


def make_detector(name: str) -> Detector:
    """The built-in detector of that name, or the one in an ONNX file, whose name ends in .onnx.

    Raises:
      UserError: there is none, or the file is not that of a known detector.
    """
    if name == "hog":
        return HogDetector()
    if name.lower().endswith(".onnx"):
        return OnnxDetector(name)
    raise UserError(f"there is no detector {name!r}; choose hog or an .onnx file")
