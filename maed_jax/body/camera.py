"""Cameras: the weak-perspective camera of a crop, and the perspective camera of the whole image.

Camera frames have x right, y down, z forward; units are metres and pixels. A crop's camera
(s, tx, ty) moves the body by (tx, ty) metres, then scales it by s crop half-widths per metre.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

FOCAL = 5000.0  # pixels, focal length of a crop's virtual camera
CROP = 224.0  # pixels, side of the crop it sees; coordinates in [-1, 1] do not depend on it
_EPS = 1e-9
_NEAREST = 1e-6  # metres in front of or behind the lens


def translation_from_weak_perspective(camera: jax.Array) -> jax.Array:
    """Maps (s, tx, ty) [... 3] to the body's translation [... 3] in the crop's camera, metres."""
    s, tx, ty = camera[..., 0], camera[..., 1], camera[..., 2]
    return jnp.stack([tx, ty, 2 * FOCAL / _away_from_zero(_EPS, CROP * s + _EPS)], axis=-1)


def _away_from_zero(least: float, x: jax.Array) -> jax.Array:
    """`x`, or `least` where |x| < least / 2, so that neither values nor gradients divide by zero.

    Only below half of `least`, because `least` itself is what 0 becomes in the original.
    """
    return jnp.where(jnp.abs(x) < least / 2, least, x)


def project(points: jax.Array, camera: jax.Array) -> jax.Array:
    """Projects points with a crop's camera.

    Args:
      points: [... n 3] metres, in the crop's camera frame, before translation.
      camera: [... 3] (s, tx, ty).

    Returns:
      [... n 2] crop coordinates, from -1 to 1 between opposite edges.
    """
    translated = points + translation_from_weak_perspective(camera)[..., None, :]
    depth = _away_from_zero(_NEAREST, translated[..., 2:])
    return translated[..., :2] / depth * (FOCAL / (CROP / 2))


def default_focal(image_size: tuple[int, int]) -> float:
    """The focal length in pixels assumed for an image (height, width) of unknown focal length:
    its diagonal, i.e. a diagonal field of view of 53 degrees."""
    height, width = image_size
    return float((height**2 + width**2) ** 0.5)


@jax.jit  # for NumPy's arrays: each of its operations would be compiled for their shapes
def camera_from_crop_to_image(
    camera: jax.Array, box: jax.Array, intrinsics: jax.Array
) -> jax.Array:
    """Converts a crop's camera to the body's translation in the camera of the whole image.

    Points at the depth of the pelvis project to the same pixels with both; others differ by
    parallax, at most their depth divided by the body's distance, times their offset from the
    image's centre.

    Args:
      camera: [... 3] (s, tx, ty).
      box: [... 3] the crop in the image: centre x, centre y, side, pixels.
      intrinsics: [4] fx, fy, cx, cy of the image's camera, pixels; fx and fy are equal.

    Returns:
      [... 3] metres. The depth is negative if s is, which only untrained models predict.
    """
    fx, _, cx, cy = intrinsics
    s, tx, ty = camera[..., 0], camera[..., 1], camera[..., 2]
    metres_per_pixel = 2 / _away_from_zero(_EPS, box[..., 2] * s + _EPS)
    return jnp.stack(
        [
            tx + (box[..., 0] - cx) * metres_per_pixel,
            ty + (box[..., 1] - cy) * metres_per_pixel,
            fx * metres_per_pixel,
        ],
        axis=-1,
    )
