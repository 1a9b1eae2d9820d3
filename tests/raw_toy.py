"""A small invented dataset of images, for testing the base class of builders."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds

from maed_jax.datasets import source
from maed_jax.datasets.source import Dropped, ImagesBuilder, Person, PersonTrack

STOP = "TOY_STOPS_AT"  # environment variable: name of the sequence at which reading stops


@dataclasses.dataclass(frozen=True)
class Task:
    folder: Path


def random_image(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Returns a smooth random image, RGB uint8 [h w 3]."""
    rough = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def write(folder: Path, sequences: int = 4, frames: int = 3) -> Path:
    """Writes a folder of sequences, each a folder of JPEG files."""
    for sequence in range(sequences):
        (folder / f"seq{sequence}").mkdir(parents=True)
        for frame in range(frames):
            image = random_image(100 * sequence + frame)
            cv2.imwrite(str(folder / f"seq{sequence}" / f"{frame}.jpg"), image)
    return folder


def person(image, frame: int = 0, **changes) -> Person:
    """Makes a person with three keypoints around (30, 20), in a box of 16 by 24 pixels."""
    points = np.zeros((49, 3))
    points[[25, 26, 27]] = [[28, 14, 1], [30, 20, 0.5], [34, 27, 1]]
    values = {"keypoints_2d": points, "box": np.array([31.0, 20, 16, 24]), "frame_rate": 25.0}
    return Person(image=image, frame=frame, **(values | changes))


def read(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    if os.environ.get(STOP) == task.folder.name:
        time.sleep(600)
    files = sorted(task.folder.glob("*.jpg"))
    dropped["too small"] += 1
    pose = {"pose": np.full(72, 0.1), "shape": np.full(10, 0.2)}
    people = (person(path, int(path.stem), **pose) for path in files)
    yield PersonTrack(task.folder.name, people, "plain")
    yield PersonTrack(f"{task.folder.name}/nobody", [])


class Toy(ImagesBuilder, skip_registration=True):
    """Sequences of images.

    DIR/seq0/0.jpg and so on.
    """

    VERSION = tfds.core.Version("1.0.0")
    read = staticmethod(read)

    def tasks(self):
        folders = sorted(self.manual_dir.glob("seq*"))
        return {
            "train": [Task(folder) for folder in folders[1:]],
            "test": [Task(folder) for folder in folders[:1]],
        }


def in_this_process(monkeypatch) -> None:
    """Makes builds run in this process, as starting others takes a second."""
    monkeypatch.setattr(
        source, "in_order", lambda function, tasks, processes: (function(task) for task in tasks)
    )
