"""The people in MPI-INF-3DHP: one per recording, frame by frame."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import JOINT_SETS, to_keypoints49
from maed_jax.data.boxes import box_from_keypoints

from .. import footage
from ..pinhole import fit_intrinsics
from ..source import Dropped, Person, PersonTrack
from ..spin_frames import SpinFrames
from .annotations import RECORDINGS, read_calibration, read_test, read_train

TEST_SIZES = {f"TS{i}": (2048, 2048) if i < 5 else (1920, 1080) for i in range(1, 7)}
_SPIN_NAME = re.compile(r"(S\d/Seq\d)/imageFrames/video_(\d+)/frame_(\d+)\.jpg$")
# The two use different names for the same two points of the head.
HEADS = {
    "maed": {},
    "spin": {"Head (H36M)": "Jaw (H36M)", "headtop": "Head (H36M)"},
}


@dataclasses.dataclass(frozen=True)
class Task:
    """The recording of one camera; `camera` is None for a test sequence."""

    folder: Path
    name: str
    """such as S1/Seq1 or TS1"""
    camera: int | None
    video: Path | None
    """its file or the folder of its frames; None if it is not used"""
    every: int
    head: str
    spin: tuple[str, str | None] | None
    universal: bool


def read_people(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields the one track of a recording."""
    if task.camera is None:
        yield PersonTrack(task.name, _test_people(task), task.name)
    elif task.video is None:
        dropped["video known to be cut short"] += RECORDINGS[task.name][0]
    else:
        name = f"{task.name.replace('/', '_')}_video_{task.camera}"
        yield PersonTrack(name, _train_people(task, dropped))


def _train_people(task: Task, dropped: Dropped) -> Iterator[Person]:
    frames, rate = RECORDINGS[task.name]
    annotations = read_train(task.folder / "annot.mat", task.camera, frames)
    camera = read_calibration(task.folder / "camera.calibration", task.camera)
    keypoints_2d = _keypoints(annotations.pixels, "mpii3d", task.head)
    keypoints_3d = _keypoints(annotations.points, "mpii3d", task.head)
    inside = _inside(keypoints_2d, camera.size).all(-1)
    numbers = np.arange(0, len(inside), task.every)
    dropped["a joint outside the image"] += int((~inside[numbers]).sum())
    boxes = box_from_keypoints(keypoints_2d)
    fits = fits_of(task.spin) if task.spin else None
    kept = [int(number) for number in numbers if inside[number]]
    for frame, image in _frames(task, kept, camera.size, dropped):
        key = (task.name, task.camera, frame)
        pose, shape = (fits and fits.find(key, keypoints_2d[frame])) or (None, None)
        yield Person(
            image=image,
            keypoints_2d=keypoints_2d[frame],
            box=boxes[frame],
            frame=frame,
            keypoints_3d=keypoints_3d[frame],
            pose=pose,
            shape=shape,
            intrinsics=camera.intrinsics,
            frame_rate=rate,
        )


def _frames(task: Task, frames: list[int], size: tuple[int, int], dropped: Dropped):
    """Yields number and image of those of `frames` that exist."""
    if task.video.is_file():
        yield from footage.video_frames(task.video, frames, [size], dropped)
        return
    files = footage.numbered_files(task.video)
    if files:
        footage.check_image_size(next(iter(files.values())), [size])
    for frame in frames:
        if frame in files:
            yield frame, files[frame]
        else:
            dropped["missing image"] += 1


def _test_people(task: Task) -> Iterator[Person]:
    annotations = read_test(task.folder / "annot_data.mat")
    pixels, points = annotations.pixels, annotations.points
    intrinsics = fit_intrinsics(points.reshape(-1, 3), pixels.reshape(-1, 2))
    keypoints_2d = _keypoints(pixels, "mpii3d_test", task.head)
    boxes = _interpolated(box_from_keypoints(keypoints_2d), TEST_SIZES[task.name])
    keypoints_2d[..., 2] *= _inside(keypoints_2d, TEST_SIZES[task.name])
    labels = annotations.universal if task.universal else points
    keypoints_3d = _keypoints(labels, "mpii3d_test", task.head)
    footage.check_image_size(task.video / "img_000001.jpg", [TEST_SIZES[task.name]])
    for frame in range(len(pixels)):  # all of them; evaluation selects
        yield Person(
            image=task.video / f"img_{frame + 1:06d}.jpg",
            keypoints_2d=keypoints_2d[frame],
            box=boxes[frame],
            frame=frame,
            keypoints_3d=keypoints_3d[frame],
            intrinsics=intrinsics,
            valid=bool(annotations.valid[frame]),
        )


def _interpolated(boxes: np.ndarray, size: footage.Size) -> np.ndarray:
    """Interpolates those of the boxes `[t 4]` that do not overlap the image.

    Frames that the owner excludes may have meaningless labels; they stay in the track.
    """
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    valid = ((high >= 0) & (low <= np.array(size) - 1)).all(-1)  # false for NaN
    if valid.any():
        frames, rows = np.arange(len(boxes)), np.flatnonzero(valid)
        boxes = np.stack([np.interp(frames, rows, column[valid]) for column in boxes.T], -1)
    return boxes


def _keypoints(points: np.ndarray, joints: str, head: str) -> np.ndarray:
    """Maps joints `[t joints c]` to the 49 keypoints `[t 49 c+1]`, the last 1 where labelled."""
    names = [HEADS[head].get(name, name) for name in JOINT_SETS[joints]]
    return to_keypoints49(np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1), names)


def _inside(keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns whether keypoints `[... 49 3]` are in an image of `size`; true for absent ones."""
    xy = keypoints[..., :2]
    return ((xy >= 0) & (xy < size)).all(-1) | (keypoints[..., 2] == 0)


@functools.cache
def fits_of(files: tuple[str, str | None]) -> SpinFrames:
    """Returns SPIN's fits by sequence, camera and frame (from 0); each process reads them once."""

    def key(name: str):
        match = _SPIN_NAME.search(name)
        return match and (match[1], int(match[2]), int(match[3]) - 1)

    return SpinFrames(*files, key)
