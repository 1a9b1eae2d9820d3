"""The first pass over a video: who is where."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from maed_jax.data.boxes import smooth_boxes
from maed_jax.errors import UserError
from maed_jax.inference.boxes_file import BoxesFile
from maed_jax.inference.detect import Detections, Detector
from maed_jax.inference.track import Track, Tracker, spread
from maed_jax.inference.video import Frame, Video
from maed_jax.inference.work import Work
from maed_jax.numpy_files import check_axes

LOOKS = 7  # a second, at least: people do not walk away in between
ENOUGH = 12  # looks in all, at least, so that somebody is told from a mistake in a short video too

T, R = TypeVar("T"), TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Found:
    """What the first pass over a video found."""

    tracks: list[Track]
    num_frames: int
    damaged: list[int]
    """numbers of the frames that could not be decoded whole"""


def no_progress(frames: Iterator, total: int) -> Iterator:
    return frames


def find_people(
    video: Video,
    people: Detector | BoxesFile,
    *,
    work: Work | None = None,
    progress: Callable = no_progress,
) -> Found:
    """Finds the people in a video, or takes them from a boxes file.

    The detector sees 7 to 14 frames a second, evenly spread, and at least a dozen; boxes in between
    are interpolated. They are no worse for it: people move less in that time than boxes err.

    Args:
      work: keeps what was found in each frame, and begins with what an earlier run left there.
      progress: wraps the iterator of frames to show how far it is.

    Raises:
      UserError: nobody is in it, or the boxes are not of this video.
    """
    kept = None if work is None else work.load("found")
    if kept is not None and (found := _unpack(kept)) is not None:
        return found
    num_frames, damaged = 0, []
    if isinstance(people, BoxesFile):
        for frame in progress(video.frames(), video.announced):
            num_frames += 1
            if frame.damaged:
                damaged.append(frame.index)
        tracks = people.tracks(num_frames, video.fps)
    else:
        every = int(video.fps / LOOKS)
        if video.announced:
            every = min(every, video.announced // ENOUGH)
        every = max(1, every)
        tracker = Tracker(video.fps / every, people.sure, people.parts)
        for frame, found in detections(video, people, work, progress, every):
            num_frames += 1
            if found is None:
                damaged.append(frame.index)
            elif frame.index % every == 0:
                tracker.step(frame.index // every, found)
        tracks = tracker.finish(math.ceil(num_frames / every))
        tracks = [spread(track, every, num_frames) for track in tracks]
    if not tracks:
        raise UserError(
            f"no people were found in {video.path}; if there are some, "
            "give their boxes with --boxes FILE"
        )
    found = Found([smoothed(track, video.fps) for track in tracks], num_frames, damaged)
    if work is not None:
        work.save("found", **_pack(found))
    return found


def detections(
    video: Video, detector: Detector, work: Work | None, progress: Callable, every: int = 1
) -> Iterator[tuple[Frame, Detections | None]]:
    """Yields every frame with its people in pixels of the video; None for a damaged frame.

    One frame in `every` is looked at, in the others there is nobody. Several are looked at at once,
    one for each core.
    """
    known = [] if work is None else work.lines("detections", DETECTED)

    def rows(frame: Frame) -> list | None:
        if frame.index < len(known):
            return known[frame.index]
        if frame.damaged:
            return None
        return [] if frame.index % every else np.column_stack(detect(frame, detector)).tolist()

    frames = progress(video.frames(), video.announced)
    nowhere = contextlib.nullcontext(lambda found: None)
    with nowhere if work is None else work.append("detections") as note:
        for frame, found in side_by_side(rows, frames):
            if frame.index >= len(known):
                note(found)
            table = None if found is None else np.array(found, np.float32).reshape(-1, 5)
            yield frame, None if table is None else Detections(table[:, :4], table[:, 4])


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yields each item with `function(item)`, in order, computed in as many threads as cores."""
    cores = os.cpu_count() or 1
    waiting: collections.deque[tuple[T, Future[R]]] = collections.deque()
    pool = ThreadPoolExecutor(cores)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > cores + 1:
                item, result = waiting.popleft()
                yield item, result.result()
        for item, result in waiting:
            yield item, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def detect(frame: Frame, detector: Detector) -> Detections:
    """The people in a frame, in pixels of the video."""
    image = frame.image(detector.longest)
    found = detector(image)
    scale = np.array([frame.size[0] / image.shape[1], frame.size[1] / image.shape[0]])
    return Detections((found.boxes * np.tile(scale, 2)).astype(np.float32), found.scores)


def smoothed(track: Track, fps: float) -> Track:
    """The track with its boxes steadied as training does it, over the same time and not the same
    number of frames: training videos have about 30 frames a second."""
    pace = min(1.0, fps / 30)
    parts = [
        smooth_boxes(track.boxes[part], median=2 * round(5 * pace) + 1, sigma=8.0 * pace)
        for part in track.runs()
    ]
    return dataclasses.replace(track, boxes=np.concatenate(parts).astype(np.float32))


DETECTED = ([[float] * 5], None)  # what is kept of a frame: boxes and scores; null: it is damaged
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


def _unpack(kept: dict[str, np.ndarray]) -> Found | None:
    """None where it is not what `_pack` made."""
    try:
        check_axes({name: kept[name] for name in _AXES}, _AXES)
    except (KeyError, ValueError):
        return None
    lengths, total = kept["lengths"], int(kept["num_frames"])
    if not len(lengths) or (lengths < 1).any() or lengths.sum() != len(kept["frames"]):
        return None
    if total < 1 or kept["frames"].min() < 0 or kept["frames"].max() >= total:
        return None
    ends = np.cumsum(lengths)[:-1]
    columns = zip(*(np.split(kept[name], ends) for name in _FIELDS))
    tracks = [Track(int(id), *arrays) for id, arrays in zip(kept["ids"], columns)]
    return Found(tracks, total, kept["damaged"].tolist())
