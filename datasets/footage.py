"""Pictures of a camera's recording: a video, decoded as it streams, or the files made of it.

Frames are counted from 0, and the annotation's row of the same number belongs to them. In the names
of extracted files they are counted from 1 as a rule (ffmpeg, SPIN).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from maed_jax.data.images import ImageError, decode_picture
from maed_jax.errors import UserError

from .pictures import read_file
from .source import Dropped

Size = tuple[int, int]
"""width, height, pixels"""

_NUMBER = re.compile(r"(\d+)\.(?:jpe?g|png)$", re.IGNORECASE)


def video_frames(
    path: Path, wanted: Sequence[int], sizes: Collection[Size], dropped: Dropped
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields number and picture, RGB uint8 [h w 3], of the frames `wanted`, which ascend.

    Frames that cannot be decoded, and those after the video's end, are counted in `dropped`.

    Raises:
      UserError: no video, or its width and height are none of `sizes`.
    """
    # Imported here: PyAV takes long to load, and extracted pictures do not need it.
    from maed_jax.inference.video import open_video

    video = open_video(path)
    _check_size(path, video.size, sizes)
    remaining = list(reversed(wanted))
    for frame in video.frames():
        if not remaining:
            return
        if frame.index < remaining[-1]:
            continue
        remaining.pop()
        if frame.damaged:
            dropped["unreadable picture"] += 1
        else:
            yield frame.index, frame.image()
    dropped["missing picture"] += len(remaining)


def numbered_files(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by their frame, from the numbers at the end of their names.

    Names count from 1, or from 0 where a file has that number. The place in a sorted list would
    not do: one missing file would shift the labels of all that follow.

    Raises:
      UserError: two files have one number.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _NUMBER.search(path.name):
            number = int(match[1])
            if number in found:
                raise UserError(f"{path} and {found[number].name} both say that they are {number}")
            found[number] = path
    first = 0 if 0 in found else 1
    return {number - first: path for number, path in sorted(found.items())}


def check_picture_size(path: Path, sizes: Collection[Size]) -> None:
    """Whether a picture has a size that the labels are made for; unreadable ones pass.

    Raises:
      UserError: it has not: the pictures were scaled, the labels would be wrong.
    """
    try:
        image = decode_picture(read_file(path))
    except (OSError, ImageError):
        return
    _check_size(path, image.shape[1::-1], sizes)


def _check_size(path: Path, found: Size, sizes: Collection[Size]) -> None:
    if tuple(found) not in sizes:
        expected = " or ".join(f"{width}x{height}" for width, height in sizes)
        raise UserError(
            f"{path} is {found[0]}x{found[1]} pixels and its labels are for {expected}: use the "
            "recording as its owner hands it out"
        )
