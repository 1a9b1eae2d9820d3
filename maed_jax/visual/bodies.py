"""Draws slightly transparent bodies over images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from maed_jax.data.pixels import project
from maed_jax.visual.render import FAR, NEAR, Renderer, Window


def draw_bodies(
    image: np.ndarray,
    bodies: Sequence[np.ndarray],
    faces: np.ndarray,
    colors: Sequence[tuple[int, int, int]],
    intrinsics: np.ndarray,
    renderer: Renderer,
    opacity: float,
) -> None:
    """Draws bodies over an image, except those that are not entirely in front of the camera.

    An untrained model may place people anywhere.

    Args:
      image: uint8 [h w 3] RGB of the renderer's size, changed in place.
      bodies: [verts 3] each, metres, camera frame.
      faces: [f 3], shared by all bodies.
      colors: RGB of each body, 0 to 255.
      intrinsics: [4] fx, fy, cx, cy of the camera, pixels of the image.
      opacity: 0 to 1.
    """
    visible = [(body, color) for body, color in zip(bodies, colors) if _is_before_camera(body)]
    if not visible:
        return
    # Scaling everything about the camera does not change the image, and keeps it within `FAR`.
    scene = min(1.0, 0.9 * FAR / max(float(body[:, 2].max()) for body, _ in visible))
    shown = [body * np.float32(scene) for body, _ in visible]
    left, top, right, bottom = window = _window(shown, intrinsics, image.shape)
    if right <= left or bottom <= top:
        return
    rgb, alpha = renderer.render(
        shown,
        [faces] * len(shown),
        [np.array(color, np.float32) for _, color in visible],
        intrinsics,
        window=window,
    )
    part = image[top:bottom, left:right]
    clear = cv2.cvtColor(cv2.convertScaleAbs(alpha, alpha=-opacity, beta=255), cv2.COLOR_GRAY2RGB)
    part[:] = cv2.addWeighted(cv2.multiply(part, clear, scale=1 / 255), 1, rgb, opacity, 0)


def _is_before_camera(body: np.ndarray) -> bool:
    return bool(np.isfinite(body).all() and body[:, 2].min() > NEAR)


def _window(bodies: list[np.ndarray], intrinsics: np.ndarray, shape: tuple[int, ...]) -> Window:
    """Returns the part of an image [h w 3] that shows bodies [verts 3], plus one pixel around."""
    height, width, _ = shape
    pixels = np.concatenate([project(body, intrinsics) for body in bodies])
    left, top = np.clip(np.floor(pixels.min(axis=0)) - 1, 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(pixels.max(axis=0)) + 2, 0, [width, height]).astype(int)
    return int(left), int(top), int(right), int(bottom)
