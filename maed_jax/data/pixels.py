"""Places in pictures, whose pixels have their centres at whole numbers, as in OpenCV."""

from __future__ import annotations

import numpy as np


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Where points `[... 3]` of the camera frame are, `[... 2]`; intrinsics are fx, fy, cx, cy."""
    return points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:]


def rescaled(points: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Where points [... 2] of a picture are in one `scale` times as large."""
    return (points + 0.5) * scale - 0.5


def nearest(point: np.ndarray) -> tuple[int, int]:
    """The pixel at a point [2], for OpenCV, which draws no farther than some 2^15 pixels."""
    return tuple(int(value) for value in np.clip(np.round(point), -32000, 32000))
