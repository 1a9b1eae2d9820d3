"""Draws bodies over a model's crops, with the crops' own cameras."""

from __future__ import annotations

import numpy as np

from maed_jax.body.camera import CROP, FOCAL, translation_from_weak_perspective
from maed_jax.visual.bodies import draw_bodies
from maed_jax.visual.render import Renderer

COLOR, OPACITY = (86, 160, 222), 0.85


def draw_crops(
    crops: np.ndarray, verts: np.ndarray, camera: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Draws a body over each crop, unless it is not entirely in front of the camera.

    Args:
      crops: uint8 `[n h h 3]`, RGB.
      verts: `[n verts 3]` metres, without translation.
      camera: `[n 3]`, see `body.camera`.
      faces: `[f 3]`.

    Returns:
      uint8 `[n h h 3]`.

    Raises:
      UserError: rendering is not possible on this machine.
    """
    side = crops.shape[1]
    focal = FOCAL * side / CROP
    intrinsics = np.array([focal, focal, side / 2, side / 2])
    drawn = crops.copy()
    moved = verts + np.asarray(translation_from_weak_perspective(camera))[:, None]
    with Renderer(side) as renderer:
        for image, body in zip(drawn, moved):
            draw_bodies(image, [body], faces, [COLOR], intrinsics, renderer, OPACITY)
    return drawn
