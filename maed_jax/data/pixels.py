"""Image coordinates, with pixel centres at whole numbers, as in OpenCV."""

from __future__ import annotations

import numpy as np


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Projects camera-frame points `[... 3]` to pixels `[... 2]`; intrinsics: fx, fy, cx, cy."""
    return points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:]


def rescaled(points: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Maps points `[... 2]` of an image to the same image resized by `scale`."""
    return (points + 0.5) * scale - 0.5


def nearest(point: np.ndarray) -> tuple[int, int]:
    """Returns the pixel at a point `[2]`, clipped for OpenCV, which draws within about 2^15."""
    return tuple(int(value) for value in np.clip(np.round(point), -32000, 32000))
