"""Images instead of a video: a single image, or a folder of a video's frames."""

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
from maed_jax.inference import results
from maed_jax.inference.video import Frame, Video, open_video

FPS = 30.0  # of a folder, by default


@dataclasses.dataclass(frozen=True)
class ImageSequence(Video):
    """Images as the frames of a video: all of one size, in the natural order of their names."""

    files: tuple[Path, ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Yields every image; one that cannot be read becomes a `damaged` copy of a neighbour.

        Raises:
          UserError: the images differ in size.
        """
        images = (read_image(path) for path in self.files)
        last, waiting = None, []
        for index, image in enumerate(images):
            if image is not None:
                if image.shape[1::-1] != self.size:
                    raise UserError(
                        f"{self.files[index]} is {image.shape[1]} x {image.shape[0]}, but images "
                        f"before it are {self.size[0]} x {self.size[1]}: a folder must hold the "
                        "frames of one video; pass separate images one by one"
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
    """Opens a video, an image (recognised by its suffix) or a folder of images.

    Hidden images of a folder are left out, and so are those that `maed predict` wrote there.

    fps: frames per second of a folder; videos have their own.

    Raises:
      UserError: there is nothing that can be decoded.
    """
    path = Path(path)
    try:
        return _open_source(path, fps)
    except OSError as error:  # permission denied, a name that is too long
        raise UserError(f"{path} cannot be read: {reason(error)}") from None


def _open_source(path: Path, fps: float) -> Video:
    if path.is_dir():
        # macOS puts files such as ._1.jpg next to images; they are not images.
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        files = [file for file in visible if file.suffix.lower() in ENDINGS]
        if (path / results.SUMMARY).is_file():
            files = [file for file in files if not results.is_ours(file.name)]
        if not files:
            raise UserError(f"{path} contains no images (files that end in {', '.join(ENDINGS)})")
        files.sort(key=_by_number)
    elif path.suffix.lower() in ENDINGS:
        if not path.exists():
            raise UserError(f"there is no image {path}")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes)")
        files = [path]
    else:
        return open_video(path)
    first = next((image for image in map(read_image, files) if image is not None), None)
    if first is None:
        raise UserError(f"{path} contains no image that can be decoded; is it damaged?")
    return ImageSequence(path, first.shape[1::-1], fps, len(files), 0, tuple(files))


def is_still(video: Video) -> bool:
    """Whether this is a single image, as opposed to a video of one frame."""
    return isinstance(video, ImageSequence) and not video.path.is_dir()


def read_image(path: Path) -> np.ndarray | None:
    """Returns an image uint8 [h w 3] RGB, upright as its EXIF data says; None if undecodable."""
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
    """Sort key that puts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]
