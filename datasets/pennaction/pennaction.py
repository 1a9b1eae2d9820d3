"""The TFDS builder `pennaction`: videos of Penn Action (Zhang, Zhu, Derpanis, ICCV 2013)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import to_keypoints49
from maed_jax.data.boxes import box_from_keypoints
from maed_jax.errors import UserError

from ..checked import numbers, rows
from ..image_files import first_size
from ..matlab import read_mat
from ..source import Dropped, ImagesBuilder, Person, PersonTrack

HEAD = 0  # the middle of the head, which is not one of the 49 keypoints
PADDING = 16  # pixels that a codec may add; a larger difference means that images were resized


def read_video(labels: Path, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields the one track of a video, given by its labels."""
    points, (height, width) = read_labels(labels)
    # The file's boxes are not used: two videos have one too few. As in the original, a box is the
    # square around the visible joints.
    boxes = box_from_keypoints(points, visible_above=0, margin=1.0)
    points[:, HEAD, 2] = 0
    keypoints = to_keypoints49(points, "pennaction_raw")
    images = [_frames(labels) / f"{number + 1:06d}.jpg" for number in range(len(points))]
    found = first_size(images)
    if found and np.abs(np.subtract(found, (height, width))).max() > PADDING:
        dropped["image of another size than its labels are for"] += len(images)
        return
    yield PersonTrack(
        labels.stem,
        [
            Person(image=image, keypoints_2d=keypoints[n], box=boxes[n], frame=n)
            for n, image in enumerate(images)
        ],
    )


class Pennaction(ImagesBuilder):
    """Penn Action (dreamdragon.github.io/PennAction):

    DIR/labels/0001.mat ... 2326.mat
    DIR/frames/0001/000001.jpg ...

    All videos are for training, as in the original; with --owner_split, the owner's test videos
    become the split "test". There are no SMPL labels.
    """

    can_be_partial = True
    read = staticmethod(read_video)

    def __init__(self, *, owner_split: bool = False, **kwargs):
        """
        Args:
          owner_split: split as the labels say.
        """
        super().__init__(**kwargs)
        self.owner_split = owner_split

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--owner_split",
            action="store_true",
            help="put the owner's test videos into the split test",
        )

    def tasks(self) -> dict[str, list[Path]]:
        labels = sorted((self.manual_dir / "labels").glob("*.mat"))
        if not labels:
            raise UserError(
                f"{self.manual_dir} has no labels/*.mat: set --manual_dir to the folder Penn_Action"
            )
        has_frames = {path: _frames(path).is_dir() for path in labels}
        present = [path for path in labels if has_frames[path]]
        missing = [f"frames/{path.stem}" for path in labels if not has_frames[path]]
        self.report_missing(missing, bool(present))
        if not self.owner_split:
            return {"train": present}
        training = {path: _for_training(path) for path in present}
        return {
            "train": [path for path in present if training[path]],
            "test": [path for path in present if not training[path]],
        }


def read_labels(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """Reads the joints of a video and the size of its images.

    The owner's description swaps left and right: the images show that the odd joints are on the
    person's own right side. The file's numbers have whatever type fits them, down to uint8.

    Returns:
      Joints [n 13 3] in the order "pennaction_raw", float32: x, y in pixels and 1 if visible; and
      (height, width).

    Raises:
      UserError: it is not such a file, or its fields disagree.
    """
    found = read_mat(path, ("x", "y", "visibility", "dimensions", "nframes"))
    n = int(numbers(found["nframes"], (), path, "nframes", any_layout=True))
    columns = {name: rows(found[name], (13,), path, name) for name in ("x", "y", "visibility")}
    lengths = {name: len(column) for name, column in columns.items()}
    if set(lengths.values()) != {n}:
        raise UserError(
            f"{path}: nframes is {n}, but the fields have these numbers of rows: {lengths}"
        )
    size = numbers(found["dimensions"], (3,), path, "dimensions", any_layout=True)
    return np.stack(list(columns.values()), -1), (int(size[0]), int(size[1]))


def _for_training(path: Path) -> bool:
    found = read_mat(path, ("train",))["train"]
    flag = numbers(found, (), path, "train", any_layout=True)
    if flag not in (1, -1):
        raise UserError(f"{path}: train is {flag:g}, neither 1 nor -1")
    return bool(flag == 1)


def _frames(labels: Path) -> Path:
    return labels.parent.parent / "frames" / labels.stem
