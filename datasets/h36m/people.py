"""The people in Human3.6M: one per recording, frame by frame."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import to_keypoints49

from .. import footage
from ..source import Dropped, Person, PersonTrack
from ..spin_frames import SpinFrames
from .labels import Fit, fits_of_mosh, fits_of_neural_annot
from .metadata import Metadata, read_metadata
from .poses import NAMED, read_boxes, read_poses

FRAME_RATE = 50.0
SIZES = ((1000, 1000), (1000, 1002))
DAMAGED = ("S11", "Directions", "54138969")  # this video is damaged
# Their labels are some 20 cm off relative to the images; relative to the root, they are right.
SHIFTED = (("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1"))


@dataclasses.dataclass(frozen=True)
class Task:
    """One camera's recording of one action."""

    subject: Path
    action: str
    """as in the owner's file names, such as "Directions 1\""""
    camera: str
    video: Path | None
    """its file or the folder of its frames; None if it is not used"""
    subset: str
    """of the track"""
    every: int
    metadata: Path | None
    labels: tuple[str, str] | None
    """"mosh", "neural_annot" or "spin", and the file or folder"""


def name_of(subject: str, action: str, camera: str) -> str:
    """Returns the name of the track, with which those of images extracted from the video begin."""
    return f"{subject}_{action.replace(' ', '_')}.{camera}"


def read_people(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields the one track of a recording."""
    name = name_of(task.subject.name, task.action, task.camera)
    yield PersonTrack(name, _people(task, dropped), task.subset)


def _people(task: Task, dropped: Dropped) -> Iterator[Person]:
    subject = task.subject.name
    metadata = metadata_of(task.metadata) if task.metadata else None
    poses = read_poses(task.subject, task.action, task.camera, metadata)
    frames = range(0, len(poses.points), task.every)
    if task.video is None:
        dropped["video known to be damaged"] += len(frames)
        return
    keypoints_2d = _keypoints(poses.pixels)
    keypoints_3d = _keypoints(poses.points)
    boxes = read_boxes(task.subject, f"{task.action}.{task.camera}", keypoints_2d, frames)
    if (subject, task.action) in SHIFTED:
        keypoints_2d[..., 2] = 0
    fit_of = _fits(task, metadata, keypoints_2d)
    for frame, image in _frames(task, frames, dropped):
        pose, shape = fit_of(frame) or (None, None)
        yield Person(
            image=image,
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
    """Maps raw joints `[t 32 c]` to the 49 keypoints `[t 49 c+1]`, the last 1 where labelled."""
    named = points[:, NAMED]
    valid = np.ones((*named.shape[:2], 1))
    return to_keypoints49(np.concatenate([named, valid], -1), "h36m_regressor")


def _frames(task: Task, frames: range, dropped: Dropped) -> Iterator[tuple[int, np.ndarray | Path]]:
    """Yields number and image of each existing frame."""
    if task.video.is_file():
        yield from footage.video_frames(task.video, frames, SIZES, dropped)
        return
    stem = name_of(task.subject.name, task.action, task.camera)
    files = [task.video / f"{stem}_{frame + 1:06d}.jpg" for frame in frames]
    if file := next((file for file in files if file.is_file()), None):
        footage.check_image_size(file, SIZES)
    yield from zip(frames, files)


def _fits(
    task: Task, metadata: Metadata | None, keypoints: np.ndarray
) -> Callable[[int], Fit | None]:
    """Returns a function from frame to its SMPL labels, or None."""
    if task.labels is None:
        return lambda frame: None
    kind, where = task.labels
    recording = (task.subject.name, task.action, task.camera)
    if kind == "mosh":
        return fits_of_mosh(where, *recording, len(keypoints))
    if kind == "neural_annot":
        return fits_of_neural_annot(where, *recording, metadata)
    stem = name_of(*recording)
    return lambda frame: spin_of(where).find(f"{stem}_{frame + 1:06d}.jpg", keypoints[frame])


@functools.cache
def spin_of(path: str) -> SpinFrames:
    """Returns SPIN's fits by image name; each process reads them once."""
    return SpinFrames(path, None, lambda name: name.rpartition("/")[2])


@functools.cache
def metadata_of(path: Path) -> Metadata:
    """Like `read_metadata`; each process reads the file once."""
    return read_metadata(path)
