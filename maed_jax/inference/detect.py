"""Person detectors by name."""

from __future__ import annotations

from maed_jax.errors import UserError
from maed_jax.inference.detections import Detector
from maed_jax.inference.hog import HogDetector
from maed_jax.inference.onnx_detector import OnnxDetector


def make_detector(name: str) -> Detector:
    """Returns the built-in detector of that name, or one from a file whose name ends in .onnx.

    Raises:
      UserError: there is no such detector, or the file is not a known kind of detector.
    """
    if name == "hog":
        return HogDetector()
    if name.lower().endswith(".onnx"):
        return OnnxDetector(name)
    raise UserError(f"there is no detector {name!r}; choose hog or an .onnx file")
