"""The TFDS builder `h36m`."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import to_keypoints49
from maed_jax.errors import UserError

from .. import footage
from ..source import Dropped, Person, PersonTrack, PicturesBuilder
from ..spin_frames import SpinFrames
from ..whole import add_partial_argument, complain
from .labels import Fit, fits_of_mosh, fits_of_neural_annot
from .metadata import CAMERAS, Metadata, read_metadata
from .poses import NAMED, read_boxes, read_poses, recordings

SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
FRAME_RATE = 50.0
SIZES = ((1000, 1000), (1000, 1002))
DAMAGED = ("S11", "Directions", "54138969")  # this video cannot be trusted
# Labels of these are shifted against the pictures by some 20 cm. About the root they are right.
SHIFTED = (("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1"))


@dataclasses.dataclass(frozen=True)
class Task:
    """What one camera saw of one action."""

    subject: Path
    action: str
    """as in the owner's file names, such as "Directions 1\""""
    camera: str
    pictures: Path | None
    """a video or a folder of pictures; None where it is not used"""
    every: int
    metadata: Path | None
    labels: tuple[str, str] | None
    """"mosh", "neural_annot" or "spin", and the file or folder"""


class H36m(PicturesBuilder):
    """Human3.6M as its owner's archives or h36m-fetch leave it; see docs/datasets.md.

    DIR holds metadata.xml and for each subject S1/Videos/<action>.<camera>.mp4 and poses in
    S1/MyPoseFeatures/{D2_Positions,D3_Positions_mono} or S1/Poses_{D2,D3}_..., and perhaps
    S1/MySegmentsMat/ground_truth_bb. Pictures may also be extracted, named as by SPIN or MMHuman3D.
    """

    def __init__(
        self, *, every: int = 5, metadata: str | None = None, mosh: str | None = None,
        neural_annot: str | None = None, spin: str | None = None, partial: bool = False, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.every, self.partial = every, partial
        default = self.manual_dir / "metadata.xml"
        self.metadata = Path(metadata) if metadata else default if default.is_file() else None
        if every < 1:
            raise UserError("--every has to be 1 or more")
        sources = {"mosh": mosh, "neural_annot": neural_annot, "spin": spin}
        given = [(kind, where) for kind, where in sources.items() if where]
        if len(given) > 1:
            raise UserError("choose one of --mosh, --neural_annot and --spin")
        self.labels = given[0] if given else None
        if neural_annot and not self.metadata:
            raise UserError("--neural_annot needs metadata.xml, which tells the names of actions")

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        PicturesBuilder.add_arguments(parser)
        add_partial_argument(parser)
        parser.add_argument(
            "--every", type=int, default=5, metavar="N",
            help="keep every Nth frame of 50 a second (default: 5, as all others do)",
        )  # fmt: skip
        parser.add_argument(
            "--metadata", metavar="XML", help="metadata.xml with the cameras (default: in DIR)"
        )
        parser.add_argument(
            "--mosh", metavar="DIR", help="SMPL labels of MoSh: S1/<action>_cam0_aligned.pkl ..."
        )
        parser.add_argument(
            "--neural_annot", metavar="DIR",
            help="SMPL labels of NeuralAnnot: Human36M_subject1_SMPL_NeuralAnnot.json and "
            "Human36M_subject1_camera.json ...",
        )  # fmt: skip
        parser.add_argument(
            "--spin", metavar="NPZ", help="SMPL labels of MoSh as SPIN has them: h36m_train.npz"
        )

    def tasks(self) -> dict[str, list[Task]]:
        if self.metadata:
            _metadata(self.metadata)  # whatever is wrong with it is told at once
        if self.labels and self.labels[0] == "spin":
            _spin(self.labels[1])
        flat = _stems(self.manual_dir / "images")
        tasks, missing = {}, []
        for split, subjects in SUBJECTS.items():
            tasks[split] = []
            for name in subjects:
                found, lacking = self._subject(self.manual_dir / name, flat)
                tasks[split] += found
                missing += lacking
        if not any(tasks.values()):
            raise UserError(
                f"{self.manual_dir} is not laid out as Human3.6M: there is no S1/MyPoseFeatures or "
                "S1/Poses_D3_Positions_mono below it with poses of a video in S1/Videos"
            )
        complain(self.manual_dir, missing, partial=self.partial)
        return tasks

    def _subject(self, subject: Path, flat: frozenset[str]) -> tuple[list[Task], list[str]]:
        """What there is of a subject, and what is missing; `flat` as from `_stems`."""
        tasks, missing = [], []
        for action, camera in recordings(subject, CAMERAS):
            used = (subject.name, action, camera) != DAMAGED
            pictures = _pictures(subject, action, camera, flat) if used else None
            if used and pictures is None:
                missing.append(f"{subject.name}/Videos/{action}.{camera}.mp4")
            else:
                settings = (self.every, self.metadata, self.labels)
                tasks.append(Task(subject, action, camera, pictures, *settings))
        if not tasks and not missing:
            missing = [f"{subject.name}/MyPoseFeatures/D3_Positions_mono/*.cdf"]
        return tasks, missing


def _stems(folder: Path) -> frozenset[str]:
    """Names of the pictures of a folder up to their numbers."""
    names = os.listdir(folder) if folder.is_dir() else []
    return frozenset(name.rpartition("_")[0] for name in names)


def _pictures(subject: Path, action: str, camera: str, flat: frozenset[str]) -> Path | None:
    stem = _stem(subject.name, action, camera)
    places = (
        subject / "Videos" / f"{action}.{camera}.mp4",
        subject / "images" / stem,
        subject.parent / "images" / subject.name / stem,
    )
    found = next((place for place in places if place.exists()), None)
    return subject.parent / "images" if found is None and stem in flat else found


def _stem(subject: str, action: str, camera: str) -> str:
    return f"{subject}_{action.replace(' ', '_')}.{camera}"


def read(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields the one track of a recording; of those to test on, its subset is the action."""
    subject = task.subject.name
    subset = task.action.partition(" ")[0] if subject in SUBJECTS["test"] else ""
    name = _stem(subject, task.action, task.camera)
    yield PersonTrack(name, _people(task, dropped), subset)


H36m.read = staticmethod(read)


def _people(task: Task, dropped: Dropped) -> Iterator[Person]:
    subject = task.subject.name
    metadata = _metadata(task.metadata) if task.metadata else None
    poses = read_poses(task.subject, task.action, task.camera, metadata)
    frames = range(0, len(poses.points), task.every)
    if task.pictures is None:
        dropped["video known to be damaged"] += len(frames)
        return
    keypoints_2d = _keypoints(poses.pixels)
    keypoints_3d = _keypoints(poses.points)
    boxes = read_boxes(task.subject, f"{task.action}.{task.camera}", keypoints_2d, frames)
    if (subject, task.action) in SHIFTED:
        keypoints_2d[..., 2] = 0
    fit_of = _fits(task, metadata, keypoints_2d)
    for frame, picture in _frames(task, frames, dropped):
        pose, shape = fit_of(frame) or (None, None)
        yield Person(
            picture=picture,
            keypoints_2d=keypoints_2d[frame],
            box=boxes[frame],
            frame=frame,
            keypoints_3d=keypoints_3d[frame],
            pose=pose,
            shape=shape,
            intrinsics=poses.intrinsics,
            frame_rate=FRAME_RATE,
        )


def _keypoints(points: np.ndarray) -> np.ndarray:
    """Raw joints `[t 32 c]` as the 49 keypoints `[t 49 c+1]`, with 1 for those there are."""
    named = points[:, NAMED]
    known = np.ones((*named.shape[:2], 1))
    return to_keypoints49(np.concatenate([named, known], -1), "h36m_regressor")


def _frames(task: Task, frames: range, dropped: Dropped) -> Iterator[tuple[int, np.ndarray | Path]]:
    """Number and picture of each frame that there is."""
    if task.pictures.is_file():
        yield from footage.video_frames(task.pictures, frames, SIZES, dropped)
        return
    stem = _stem(task.subject.name, task.action, task.camera)
    files = [task.pictures / f"{stem}_{frame + 1:06d}.jpg" for frame in frames]
    if file := next((file for file in files if file.is_file()), None):
        footage.check_file_size(file, SIZES)
    yield from zip(frames, files)


def _fits(
    task: Task, metadata: Metadata | None, keypoints: np.ndarray
) -> Callable[[int], Fit | None]:
    """Frame -> SMPL labels, where there are any."""
    if task.labels is None:
        return lambda frame: None
    kind, where = task.labels
    recording = (task.subject.name, task.action, task.camera)
    if kind == "mosh":
        return fits_of_mosh(where, *recording)
    if kind == "neural_annot":
        return fits_of_neural_annot(where, *recording, metadata)
    stem = _stem(*recording)
    return lambda frame: _spin(where).find(f"{stem}_{frame + 1:06d}.jpg", keypoints[frame])


@functools.cache
def _spin(path: str) -> SpinFrames:
    return SpinFrames(path, None, lambda name: name.rpartition("/")[2])


@functools.cache
def _metadata(path: Path) -> Metadata:
    return read_metadata(path)
