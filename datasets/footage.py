"""Frames of a recording, from a video, decoded as it streams, or from extracted image files.

Frames are counted from 0, and frame n belongs to row n of the annotations. The names of extracted
files usually count from 1 (ffmpeg, SPIN).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from maed_jax.data.images import ImageError, decode_image
from maed_jax.errors import UserError

from .image_files import read_file
from .source import Dropped

Size = tuple[int, int]
"""width, height, pixels"""

_NUMBER = re.compile(r"(\d+)\.(?:jpe?g|png)$", re.IGNORECASE)


def video_frames(
    path: Path, frames: Sequence[int], sizes: Collection[Size], dropped: Dropped
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields number and image, RGB uint8 `[h w 3]`, of `frames`, in ascending order.

    Frames that cannot be decoded, and those after the video's end, are counted in `dropped`.

    Raises:
      UserError: it is not a video, or its size is not in `sizes`.
    """
    # Imported here because PyAV is slow to import, and extracted images do not need it.
    from maed_jax.inference.video import open_video

    video = open_video(path)
    _check_size(path, video.size, sizes)
    remaining = list(reversed(frames))
    for frame in video.frames():
        if not remaining:
            return
        if frame.index < remaining[-1]:
            continue
        remaining.pop()
        if frame.damaged:
            dropped["unreadable image"] += 1
        else:
            yield frame.index, frame.image()
    dropped["missing image"] += len(remaining)


def numbered_files(folder: Path) -> dict[int, Path]:
    """Returns the images in a folder by frame, from the numbers at the end of their names.

    Names count from 1, or from 0 if a file has that number. Positions in a sorted list would not
    do: one missing file would shift the labels of all that follow.

    Raises:
      UserError: two files have the same number.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _NUMBER.search(path.name):
            number = int(match[1])
            if number in found:
                raise UserError(f"{path} and {found[number].name} both have the number {number}")
            found[number] = path
    first = 0 if 0 in found else 1
    return {number - first: path for number, path in sorted(found.items())}


def check_image_size(path: Path, sizes: Collection[Size]) -> None:
    """Checks that an image has a size for which the labels are valid; unreadable ones pass.

    Raises:
      UserError: it does not: the images were resized, so the labels would be wrong.
    """
    try:
        image = decode_image(read_file(path))
    except (OSError, ImageError):
        return
    _check_size(path, image.shape[1::-1], sizes)


def _check_size(path: Path, size: Size, sizes: Collection[Size]) -> None:
    if tuple(size) not in sizes:
        expected = " or ".join(f"{width}x{height}" for width, height in sizes)
        raise UserError(
            f"{path} has {size[0]}x{size[1]} pixels, but its labels are for {expected}: use the "
            "recording as its owner distributes it"
        )
