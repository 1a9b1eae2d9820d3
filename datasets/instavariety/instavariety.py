"""The TFDS builder `instavariety`: InstaVariety's tracks (Kanazawa et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import to_keypoints49
from maed_jax.errors import UserError

from ..image_files import first_size, whole_image_box
from ..source import Dropped, ImagesBuilder, Person, PersonTrack
from ..tfrecord import Example, read_records

MAX_FRAMES = 1 << 20
"""limit on frames per track; no real track has so many"""


def read_tracks(path: Path, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields a track for each record of a file: images cropped around one person."""
    for number, data in enumerate(read_records(path)):
        example = Example(data, f"{path}, record {number}")
        images, points = read_track(example)
        size = first_size(images)
        if size is None:
            dropped["unreadable image"] += len(images)
            continue
        height, width = size
        if "image/phis" in example:  # features of a network: keypoints too are normalised for it
            points[..., :2] = (points[..., :2] + 1) / 2 * (width, height)
        _check_range(points, size, example.where)
        keypoints = to_keypoints49(points, "insta")
        box = whole_image_box(size)
        yield PersonTrack(
            f"{path.stem}-{number}",
            [
                Person(image=image, keypoints_2d=keypoints[n], box=box, frame=n)
                for n, image in enumerate(images)
            ],
        )


def read_track(example: Example) -> tuple[list[bytes], np.ndarray]:
    """Returns t encoded images and keypoints [t 25 3] in the order "insta", as in the file: x and
    y within [-1, 1] of the image in one kind of file, in pixels in the other.

    Raises:
      UserError: a feature is missing or has another length; the message names it.
    """
    (count,) = example.numbers("meta/N", (1,))
    if not 0 < count < MAX_FRAMES:
        raise UserError(f"{example.where}: meta/N is {count:g}, not a number of frames")
    t = int(count)
    images = example.bytes("image/encoded")
    if len(images) != t:
        raise UserError(
            f"{example.where}: image/encoded has {len(images)} images, but meta/N is {t}"
        )
    # All x of a frame, then all y; the format's description says the opposite.
    body = example.numbers("image/xys", (t, 2, 14))
    visible = example.numbers("image/visibilities", (t, 1, 14))
    face = example.numbers("image/face_pts", (t, 3, 5))
    feet = np.zeros((t, 3, 6))
    if example.length("image/toe_pts"):
        feet = example.numbers("image/toe_pts", (t, 3, 6))
    points = np.concatenate([np.concatenate([body, visible], 1), face, feet], -1)
    return images, points.swapaxes(1, 2)


class Instavariety(ImagesBuilder):
    """InstaVariety as TFRecords (github.com/akanazawa/human_dynamics):

    DIR/train/insta_variety_00_copy00_hmr_noS5.ckpt-642561.tfrecord ...
    DIR/test/*.tfrecord

    The images are already crops of 224 pixels, which the config "frames" keeps unchanged. There
    are no SMPL labels.
    """

    BUILDER_CONFIGS = ImagesBuilder.BUILDER_CONFIGS[::-1]  # the first is the default
    can_be_partial = True
    read = staticmethod(read_tracks)

    def tasks(self) -> dict[str, list[Path]]:
        found = {split: sorted((self.manual_dir / split).glob("*.tfrecord"))
                 for split in ("train", "test")}  # fmt: skip
        missing = [f"{split}/*.tfrecord" for split, files in found.items() if not files]
        self.report_missing(missing, any(found.values()))
        return found


def _check_range(points: np.ndarray, size: tuple[int, int], where: str) -> None:
    """Checks that visible keypoints [t 25 3] have the magnitude of the image's pixels.

    Raises:
      UserError: they do not: their units were misinterpreted.
    """
    visible = points[(points[..., 2] > 0) & np.isfinite(points).all(-1), :2]
    if len(visible) and not max(size) / 16 < np.abs(visible).max() < 4 * max(size):
        raise UserError(
            f"{where}: image/xys are neither within [-1, 1], with image/phis present, nor pixels"
        )
