"""What a dataset must know of its pictures before the engine reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from maed_jax.data.images import CROP_MARGIN, ImageError, decode_picture


def read_file(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
      OSError: there is none, or it is a device or a pipe, of which there might be no end.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    return path.read_bytes()


def first_size(pictures: Iterable[Path | bytes]) -> tuple[int, int] | None:
    """Height and width of the first picture that can be read, of a track whose are all alike."""
    for picture in pictures:
        try:
            data = read_file(picture) if isinstance(picture, Path) else picture
            return decode_picture(data).shape[:2]
        except (OSError, ImageError):
            continue
    return None


def whole_picture(size: tuple[int, int]) -> np.ndarray:
    """The box [4] whose crop is the whole picture, of height and width `size` (squares, mostly).

    For pictures that are crops around a person already, which networks are given uncut.
    """
    height, width = size
    side = min(height, width) / CROP_MARGIN
    return np.array([width / 2, height / 2, side, side])
