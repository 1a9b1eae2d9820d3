"""What a builder must know about images before their records are made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from maed_jax.data.images import CROP_MARGIN, ImageError, decode_image


def read_file(path: Path) -> bytes:
    """Returns the bytes of an image file.

    Raises:
      OSError: it does not exist, or is a device or a pipe, which might never end.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    return path.read_bytes()


def first_size(images: Iterable[Path | bytes]) -> tuple[int, int] | None:
    """Returns height and width of the first readable image of a track, whose images all have the
    same size; None if there is none."""
    for image in images:
        try:
            data = read_file(image) if isinstance(image, Path) else image
            return decode_image(data).shape[:2]
        except (OSError, ImageError):
            continue
    return None


def whole_image_box(size: tuple[int, int]) -> np.ndarray:
    """Returns the box [4] whose crop is the whole image, of height and width `size`.

    For images that already are crops around a person, which networks see whole.
    """
    height, width = size
    side = min(height, width) / CROP_MARGIN
    return np.array([width / 2, height / 2, side, side])
