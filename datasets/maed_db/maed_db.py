"""The TFDS builder `maed_db`: the databases of the original (Wan et al., ICCV 2021)."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from maed_jax.data.boxes import box_from_keypoints, smooth_boxes
from maed_jax.errors import UserError

from ..image_files import first_size, whole_image_box
from ..parts import Job
from ..source import Dropped, ImagesBuilder, Person, PersonTrack
from .database import Database, read_database
from .image_names import ImageNames, check_names, find_images

SPLITS = {"train": "train", "validation": "val", "test": "test"}
CHUNK = 1000  # least number of rows per task

# name in file names -> number of a video's first frame in the names of its images
DATABASES = {
    "3dpw": 0, "mpii3d": 1, "h36m": 1, "insta": 0, "posetrack": 0, "pennaction": 1,
    "coco2014-all": 0, "lspet": 0, "mpii": 0,
}  # fmt: skip
CROPPED = ("insta",)  # databases whose images already are crops, without boxes


@dataclasses.dataclass
class DatabaseConfig(tfds.core.BuilderConfig):
    database: str = ""
    """as in the file names"""
    crops: bool = True


@dataclasses.dataclass(frozen=True)
class Task:
    path: Path
    names: tuple[str, ...]
    """of tracks, which are consecutive"""
    starts: tuple[int, ...]
    """rows where the tracks begin, and where the last ends"""
    images: ImageNames
    boxes: str
    """where boxes come from: file, keypoints or image"""
    first: int
    """number of a video's first frame"""


@functools.lru_cache(maxsize=1)  # a process gets many tasks of one file
def _read_cached(path: Path, with_boxes: bool, _written: int) -> Database:
    return read_database(path, with_boxes)


def read_rows(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields some tracks of a database."""
    database = _read_cached(task.path, task.boxes == "file", task.path.stat().st_mtime_ns)
    for name, start, end in zip(task.names, task.starts, task.starts[1:]):
        rows = slice(start, end)
        images = [task.images.path(str(image)) for image in database.image[rows]]
        points = database.keypoints_2d(rows)
        boxes = _boxes(task.boxes, database, rows, points, images)
        keypoints_3d = database.keypoints_3d(rows)
        smpl, valid = database.smpl(rows), database.valid(rows)
        frames = range(end - start)
        if database.video is not None:
            frames = _frames(images, task.first)
        people = [
            Person(
                image=images[n],
                keypoints_2d=points[n],
                box=boxes[n],
                frame=frames[n],
                keypoints_3d=None if keypoints_3d is None else keypoints_3d[n],
                pose=None if smpl is None else smpl[0][n],
                shape=None if smpl is None else smpl[1][n],
                valid=bool(valid[n]),
            )
            for n in range(end - start)
        ]
        yield PersonTrack(name, people)


def _boxes(
    kind: str, database: Database, rows: slice, points: np.ndarray, images: list[Path]
) -> np.ndarray:
    """Returns boxes [rows 4], NaN where there is none."""
    if kind == "file":
        return database.boxes(rows)
    if kind == "image":
        size = first_size(images) or (1, 1)  # without a readable image, all are left out anyway
        return np.tile(whole_image_box(size), (len(points), 1))
    if database.video is None:
        return box_from_keypoints(points, margin=1.2)
    boxes = box_from_keypoints(points, diagonal=True)  # as the original does for 3DPW
    return smooth_boxes(boxes) if np.isfinite(boxes).all(-1).any() else boxes


def _frames(images: list[Path], first: int) -> list[int]:
    """Returns frame numbers from 0: those in the image names if they ascend, else the positions."""
    found = [re.search(r"(\d+)\.\w+$", image.name) for image in images]
    numbers = [int(match[1]) - first if match else -1 for match in found]
    ascending = numbers[0] >= 0 and all(a < b for a, b in zip(numbers, numbers[1:]))
    ascending = ascending and numbers[-1] < 1 << 31  # larger ones are not frame numbers
    return numbers if ascending else list(range(len(images)))


class MaedDb(ImagesBuilder):
    """The original's databases, and the images that they name:

    DIR/3dpw_train_db.pt, 3dpw_val_db.pt, 3dpw_test_db.pt, mpii3d_train_db.pt, h36m_train_db.pt,
    insta_train_db.pt, posetrack_train_db.pt, pennaction_train_db.pt, coco2014-all_train_db.pt,
    lspet_train_db.pt, mpii_train_db.pt

    Each config is for one of them. The files contain absolute paths on the machine that wrote them:
    --image_root is the folder below which the ends of these paths are. Nothing in the files is
    executed.
    """

    BUILDER_CONFIGS = [
        DatabaseConfig(
            name=name if crops else f"{name}-frames",
            description="the person with a margin" if crops else "whole images",
            database=name,
            crops=crops,
        )
        for crops in (True, False)
        for name in DATABASES
    ]
    read = staticmethod(read_rows)

    def __init__(self, *, image_root: str | Path | None = None, boxes: str = "file", **kwargs):
        """See `add_arguments` for the meaning of the arguments."""
        super().__init__(**kwargs)
        self.image_root = None if image_root is None else Path(image_root).expanduser()
        self.boxes = boxes

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--image_root",
            metavar="DIR",
            help="folder with the images (default: as in the files)",
        )
        parser.add_argument(
            "--boxes", choices=["file", "keypoints"], default="file",
            help="use the file's boxes, or make new ones around its 2D keypoints",
        )  # fmt: skip

    def tasks(self) -> dict[str, list[Task]]:
        name = self.builder_config.database
        files = {split: self.manual_dir / f"{name}_{part}_db.pt" for split, part in SPLITS.items()}
        found = {split: path for split, path in files.items() if path.is_file()}
        if not found:
            raise UserError(f"{self.manual_dir} has no {name}_train_db.pt, nor _val or _test")
        return {split: self._split(path) for split, path in found.items()}

    def _split(self, path: Path) -> list[Task]:
        boxes = "image" if self.builder_config.database in CROPPED else self.boxes
        database = read_database(path, boxes == "file")
        if boxes == "file" and "bbox" not in database.arrays:
            raise UserError(f"{path} has no bbox: --boxes keypoints makes boxes around keypoints")
        check_names(database.image, path)
        starts = database.starts()
        first = database.image[starts]
        images = find_images(first, self.image_root, path)
        names = _unique(first if database.video is None else database.video[starts])
        ends = [*starts[1:].tolist(), len(database)]
        tasks, begin = [], 0
        for track, end in enumerate(ends):
            if end - starts[begin] >= CHUNK or end == len(database):
                tasks.append(Task(
                    path, tuple(names[begin : track + 1]),
                    (*starts[begin : track + 1].tolist(), end),
                    images, boxes, DATABASES[self.builder_config.database],
                ))  # fmt: skip
                begin = track + 1
        return tasks

    def _jobs(self) -> dict[str, list[Job]]:
        crops = self.builder_config.crops
        return {
            split: [dataclasses.replace(job, crops=crops) for job in jobs]
            for split, jobs in super()._jobs().items()
        }


def _unique(names: np.ndarray) -> list[str]:
    """Returns track names without folders, numbered if several are then equal."""
    base_names = [str(name).replace("\\", "/").rpartition("/")[2] for name in names]
    counts = collections.Counter(base_names)
    seen: collections.Counter = collections.Counter()
    unique = []
    for name in base_names:
        seen[name] += 1
        unique.append(name if counts[name] == 1 else f"{name}/{seen[name]}")
    return unique
