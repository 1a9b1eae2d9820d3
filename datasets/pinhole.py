"""Fits a pinhole camera to a recording's labels."""

from __future__ import annotations

import numpy as np

from maed_jax.data.pixels import project

_LARGEST_ERROR = 5.0  # pixels, median; lens distortion leaves less


def fit_intrinsics(points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Fits fx, fy, cx, cy by least squares, so that `points` project onto `pixels`.

    Args:
      points: [n 3] in the camera frame, any unit.
      pixels: [n 2], the same points in the image.

    Returns:
      float64 [4]; zeros (unknown) if none fits: half of the points are off by over 5 pixels.
    """
    valid = np.isfinite(points).all(-1) & np.isfinite(pixels).all(-1) & (points[:, 2] > 0)
    points, pixels = points[valid], pixels[valid]
    if len(points) < 8:
        return np.zeros(4)
    rays = points[:, :2] / points[:, 2:]
    (fx, cx), (fy, cy) = (
        np.linalg.lstsq(np.c_[rays[:, i], np.ones(len(rays))], pixels[:, i], rcond=None)[0]
        for i in range(2)
    )
    intrinsics = np.array([fx, fy, cx, cy])
    error = np.linalg.norm(project(points, intrinsics) - pixels, axis=-1)
    return intrinsics if np.median(error) < _LARGEST_ERROR and fx > 0 < fy else np.zeros(4)
