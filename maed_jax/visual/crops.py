"""Bodies over the crops that a model sees, by the crops' own cameras."""

from __future__ import annotations

import numpy as np

from maed_jax.body.camera import CROP, FOCAL, translation_from_weak_perspective
from maed_jax.visual.render import FAR, NEAR, Renderer

COLOR, OPACITY = (86, 160, 222), 0.85


def draw_crops(
    crops: np.ndarray, verts: np.ndarray, camera: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Draws a body over each crop; where it is not wholly before the camera, nothing.

    Args:
      crops: uint8 `[n h h 3]`, RGB.
      verts: `[n verts 3]` metres, untranslated.
      camera: `[n 3]`, see `body.camera`.
      faces: `[f 3]`.

    Returns:
      uint8 `[n h h 3]`.

    Raises:
      UserError: rendering is not possible here.
    """
    side = crops.shape[1]
    focal = FOCAL * side / CROP
    intrinsics = np.array([focal, focal, side / 2, side / 2])
    drawn = crops.copy()
    moved = verts + np.asarray(translation_from_weak_perspective(camera))[:, None]
    with Renderer(side) as renderer:
        for picture, body in zip(drawn, moved):
            if not np.isfinite(body).all() or body[:, 2].min() <= NEAR:
                continue
            # Scaling everything about the camera changes no picture; the renderer sees so far only.
            body = body * min(1.0, 0.9 * FAR / body[:, 2].max())
            rgb, alpha = renderer.render(body, faces, np.array(COLOR, np.float32), intrinsics)
            cover = alpha[..., None] * (OPACITY / 255)
            picture[:] = (picture * (1 - cover) + rgb * OPACITY + 0.5).astype(np.uint8)
    return drawn
