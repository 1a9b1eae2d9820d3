"""The first pass over a video: finds the people and their tracks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from maed_jax.data.boxes import smooth_boxes
from maed_jax.errors import UserError
from maed_jax.files.numpy import check_axes
from maed_jax.inference.boxes_file import BoxesFile
from maed_jax.inference.detect_video import detection_interval, detections
from maed_jax.inference.detections import Detector
from maed_jax.inference.track import Track, Tracker, interpolated
from maed_jax.inference.unfinished import Work
from maed_jax.inference.video import Video, no_progress


@dataclasses.dataclass(frozen=True)
class Found:
    """The result of the first pass over a video."""

    tracks: list[Track]
    num_frames: int
    damaged: list[int]
    """numbers of the frames that could not be fully decoded"""


def find_people(
    video: Video,
    people: Detector | BoxesFile,
    *,
    work: Work | None = None,
    progress: Callable = no_progress,
) -> Found:
    """Finds the people in a video, or takes them from a boxes file.

    The detector sees 7 to 14 frames per second, evenly spaced, and at least a dozen in all (see
    `detect_video`); boxes in between are interpolated. This loses no accuracy: people move less in
    that time than the boxes err.

    Args:
      work: stores the detections of each frame; those stored by an earlier run are reused.
      progress: wraps the iterator of frames to show progress.

    Raises:
      UserError: there are no people, or the boxes do not belong to this video.
    """
    saved = None if work is None else work.load("found")
    if saved is not None and (found := _unpack(saved)) is not None:
        return found
    num_frames, damaged = 0, []
    if isinstance(people, BoxesFile):
        for frame in progress(video.frames(), video.announced):
            num_frames += 1
            if frame.damaged:
                damaged.append(frame.index)
        tracks = people.tracks(num_frames, video.fps)
    else:
        every = detection_interval(video)
        tracker = Tracker(video.fps / every, people.sure_score, people.detects_parts)
        for detected in progress(detections(video, people, every, work), video.announced):
            if detected is None:
                damaged.append(num_frames)
            elif num_frames % every == 0:
                tracker.step(num_frames // every, detected)
            num_frames += 1
        tracks = tracker.finish(math.ceil(num_frames / every))
        tracks = [interpolated(track, every, num_frames) for track in tracks]
    if not tracks and isinstance(people, BoxesFile):
        raise UserError(
            f"no boxes in {people.path} could be linked: without ids they must cover nearly every "
            "frame that shows a person, or every n-th"
        )
    if not tracks:
        raise UserError(
            f"no people were found in {video.path}; if it shows any, use a better detector with "
            "--detector FILE.onnx, or pass their boxes with --boxes FILE"
        )
    found = Found([smoothed(track, video.fps) for track in tracks], num_frames, damaged)
    if work is not None:
        work.save("found", **_pack(found))
    return found


def smoothed(track: Track, fps: float) -> Track:
    """Returns the track with its boxes smoothed as in training, over the same time rather than the
    same number of frames: training videos have about 30 frames per second."""
    pace = min(1.0, fps / 30)
    parts = [
        smooth_boxes(track.boxes[part], median=2 * round(5 * pace) + 1, sigma=8.0 * pace)
        for part in track.runs()
    ]
    return dataclasses.replace(track, boxes=np.concatenate(parts).astype(np.float32))


_FIELDS = ("frames", "boxes", "detected", "scores")
_AXES = {
    "ids": "int tracks", "lengths": "int tracks", "num_frames": "int", "damaged": "int damaged",
    "frames": "int n", "boxes": "float n 4", "detected": "bool n", "scores": "float n",
}  # fmt: skip


def _pack(found: Found) -> dict[str, np.ndarray]:
    return {
        "ids": np.array([track.id for track in found.tracks]),
        "lengths": np.array([len(track.frames) for track in found.tracks]),
        "num_frames": np.array(found.num_frames),
        "damaged": np.array(found.damaged, np.int64),
    } | {name: np.concatenate([getattr(t, name) for t in found.tracks]) for name in _FIELDS}


def _unpack(saved: dict[str, np.ndarray]) -> Found | None:
    """Returns None for anything that `_pack` cannot have returned."""
    try:
        check_axes({name: saved[name] for name in _AXES}, _AXES)
    except (KeyError, ValueError):
        return None
    lengths, total = saved["lengths"], int(saved["num_frames"])
    if not len(lengths) or (lengths < 1).any() or lengths.sum() != len(saved["frames"]):
        return None
    if total < 1 or saved["frames"].min() < 0 or saved["frames"].max() >= total:
        return None
    ends = np.cumsum(lengths)[:-1]
    columns = zip(*(np.split(saved[name], ends) for name in _FIELDS))
    tracks = [Track(int(id), *arrays) for id, arrays in zip(saved["ids"], columns)]
    return Found(tracks, total, saved["damaged"].tolist())
