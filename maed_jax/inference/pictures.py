"""Still pictures in place of a video: one picture, or a folder of a video's frames."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from maed_jax.data.images import ENDINGS
from maed_jax.errors import UserError, reason
from maed_jax.inference.video import Frame, Video, open_video

FPS = 30.0  # of a folder that does not say


@dataclasses.dataclass(frozen=True)
class Pictures(Video):
    """Pictures that are used as a video is: all of one size, in the order of their names."""

    files: tuple[Path, ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Yields every picture; one that cannot be read is a `damaged` copy of one beside it.

        Raises:
          UserError: pictures of different sizes.
        """
        whole = (read_picture(path) for path in self.files)
        last, waiting = None, []
        for index, image in enumerate(whole):
            if image is not None:
                if image.shape[1::-1] != self.size:
                    raise UserError(
                        f"{self.files[index]} is {image.shape[1]} x {image.shape[0]}, but pictures "
                        f"before it are {self.size[0]} x {self.size[1]}: a folder is taken for the "
                        "frames of one video; give separate pictures one by one"
                    )
                last = av.VideoFrame.from_ndarray(image, format="rgb24")
                for early in waiting:
                    yield self._frame(early, early / self.fps, True, last)
                waiting = []
            if last is None:
                waiting.append(index)
            else:
                yield self._frame(index, index / self.fps, image is None, last)


def open_source(path: str | Path, fps: float = FPS) -> Video:
    """Opens a video, a picture (by its ending) or a folder of pictures.

    fps: of a folder; videos have their own.

    Raises:
      UserError: nothing is there that can be decoded.
    """
    path = Path(path)
    if path.is_dir():
        # macOS puts files such as ._1.jpg beside pictures, which are none.
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        files = [file for file in visible if file.suffix.lower() in ENDINGS]
        if not files:
            raise UserError(f"{path} holds no pictures (files that end in {', '.join(ENDINGS)})")
        files.sort(key=_by_number)
    elif path.suffix.lower() in ENDINGS:
        if not path.exists():
            raise UserError(f"there is no picture {path}")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes)")
        files = [path]
    else:
        return open_video(path)
    first = next((image for image in map(read_picture, files) if image is not None), None)
    if first is None:
        raise UserError(f"{path} holds no picture that can be decoded; is it damaged?")
    return Pictures(path, first.shape[1::-1], fps, len(files), 0, tuple(files))


def is_still(video: Video) -> bool:
    """Whether this is a single picture and not a video of one frame."""
    return isinstance(video, Pictures) and not video.path.is_dir()


def read_picture(path: Path) -> np.ndarray | None:
    """A picture, upright as its camera noted, uint8 [h w 3] RGB; None if it cannot be decoded."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error:  # it claims more than 2^30 pixels
        return None
    return None if image is None else np.ascontiguousarray(image[..., ::-1])


def _by_number(path: Path) -> list:
    """Sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]
