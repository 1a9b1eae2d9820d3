"""Detects people in a video: decides which frames to search, and how much of each.

The detector sees 7 to 14 frames per second (all frames of a slower video), and searches every
fourth of them completely (more of them in a slower video). Where two complete searches find the
same people, the frames in between are only searched around where these people must be; where they
differ, because somebody entered or left, the frames in between are searched completely too.
Somebody in view for less than half a second, and in no completely searched frame, may be missed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from maed_jax.inference.detections import NOBODY, Detections, Detector
from maed_jax.inference.track import match
from maed_jax.inference.unfinished import Work
from maed_jax.inference.video import Frame, Video
from maed_jax.threads import map_in_threads

SEARCH_RATE = 7  # per second, at least: people do not walk away in between
MIN_SEARCHES = 12  # in all, to tell people from false detections in short videos too
FULL_EVERY = 4  # at most; one search in this many is of the whole frame
EVIDENT_FRACTION = 0.5  # of the sure score; detections below it come and go by chance


def detection_interval(video: Video) -> int:
    """Returns the interval, in frames, at which the detector searches."""
    every = int(video.fps / SEARCH_RATE)
    if video.announced:
        every = min(every, video.announced // MIN_SEARCHES)
    return max(1, every)


def detections(
    video: Video, detector: Detector, every: int = 1, work: Work | None = None
) -> Iterator[Detections | None]:
    """Yields the people in each frame, in pixels of the video; None for a damaged frame.

    Args:
      every: search one frame in this many; the others yield nobody.
      work: stores the detections of each frame; those stored by an earlier run are reused.
    """
    saved = [] if work is None else work.lines("detections", DETECTED)
    frames = _frames(video, detector.max_side, every, saved)
    full_every = FULL_EVERY * video.fps / every / SEARCH_RATE  # fewer if searches are rare
    full_every = max(1, min(FULL_EVERY, int(full_every)))
    chunks = iter(lambda: list(itertools.islice(frames, every * full_every)), [])
    full_searches = map_in_threads(lambda chunk: _search(chunk[0], detector), chunks)
    # Pairs each chunk and the detections in its first frame with those in the next one's.
    pairs = itertools.pairwise(itertools.chain(full_searches, [(None, None)]))
    tasks = ((chunk, before, after) for (chunk, before), (_, after) in pairs)
    not_saved = contextlib.nullcontext(lambda line: None)
    with not_saved if work is None else work.append("detections") as save:
        searched = map_in_threads(lambda task: _search_chunk(detector, *task), tasks)
        results = itertools.chain.from_iterable(result for _, result in searched)
        for index, result in enumerate(results):
            if index >= len(saved):
                save(None if result is None else np.column_stack(result).tolist())
            yield result


class _Input(NamedTuple):
    """A frame to be searched."""

    image: np.ndarray
    """uint8 [h w 3] RGB, at the detector's size"""
    size: tuple[int, int]
    """width, height of the frame itself, pixels"""

    def scale(self) -> np.ndarray:
        """Returns pixels of the frame per pixel of the image, for boxes [... 4]."""
        return np.tile(np.array(self.size) / self.image.shape[1::-1], 2).astype(np.float32)


_Result = Detections | None  # None: the frame is damaged
DETECTED = ([[float] * 5], None)  # form of a stored frame: boxes and scores; null: damaged


def _frames(video: Video, max_side: int, every: int, saved: list) -> Iterator[_Input | _Result]:
    """Yields each frame's image, if it needs a search, or else its saved detections."""
    for frame in video.frames():
        if frame.index < len(saved):
            rows = saved[frame.index]
            table = None if rows is None else np.array(rows, np.float32).reshape(-1, 5)
            yield None if table is None else Detections(table[:, :4], table[:, 4])
        elif frame.damaged:
            yield None
        elif frame.index % every:
            yield NOBODY
        else:
            yield _input(frame, max_side)


def _input(frame: Frame, max_side: int) -> _Input:
    return _Input(frame.image(max_side), frame.size)


def detect(frame: Frame, detector: Detector) -> Detections:
    """Returns the people in a frame, in pixels of the video."""
    return _search(_input(frame, detector.max_side), detector)


def _search(
    frame: _Input | _Result, detector: Detector, expected: np.ndarray | None = None
) -> _Result:
    """Searches a frame unless its detections are known: near the `expected` boxes [n 4], or all of
    it if None."""
    if not isinstance(frame, _Input):
        return frame
    scale = frame.scale()
    if expected is None:
        found = detector(frame.image)
    else:
        found = detector.redetect_near(frame.image, expected / scale)
    return Detections(found.boxes * scale, found.scores)


def _search_chunk(
    detector: Detector, chunk: list[_Input | _Result], before: _Result, after: _Result
) -> list[_Result]:
    """Searches the rest of a chunk of frames.

    before, after: detections in its first frame, and in the frame after its last; None: unknown.
    """
    results = [before]
    for index, frame in enumerate(chunk[1:], 1):
        expected = None
        if before is not None and after is not None:
            evident, fraction = EVIDENT_FRACTION * detector.sure_score, index / len(chunk)
            expected = expected_boxes(before, after, evident, fraction)
        results.append(_search(frame, detector, expected))
    return results


def expected_boxes(
    before: Detections, after: Detections, evident: float, fraction: float
) -> np.ndarray | None:
    """Returns where people must be between two searches, as boxes [n 4]; None: possibly anywhere.

    None is returned if one of the searches has evident detections that the other has not. A less
    evident detection in only one of them keeps its box.

    Args:
      evident: least score of an evident detection.
      fraction: of the time between the two searches.
    """
    pairs = match(before.boxes, after.boxes)
    first, second = np.array(pairs, int).reshape(-1, 2).T
    both = ((before, first), (after, second))
    unmatched = [Detections(*(np.delete(a, rows, axis=0) for a in found)) for found, rows in both]
    if any((found.scores >= evident).any() for found in unmatched):
        return None
    moving = before.boxes[first] * (1 - fraction) + after.boxes[second] * fraction
    return np.concatenate([moving, *(found.boxes for found in unmatched)])
