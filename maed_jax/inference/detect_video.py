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

LOOKS = 7  # least searches per second: people do not walk away in between
ENOUGH = 12  # least searches in all, to tell people from false detections in short videos too
WHOLE = 4  # at most; one search in this many is of the whole frame
EVIDENT = 0.5  # of the sure score; detections below it come and go by chance


def frames_per_look(video: Video) -> int:
    """Returns the interval, in frames, at which the detector searches."""
    every = int(video.fps / LOOKS)
    if video.announced:
        every = min(every, video.announced // ENOUGH)
    return max(1, every)


def detections(
    video: Video, detector: Detector, every: int = 1, work: Work | None = None
) -> Iterator[Detections | None]:
    """Yields the people in each frame, in pixels of the video; None for a damaged frame.

    Args:
      every: search one frame in this many; the others yield nobody.
      work: stores the detections of each frame; those stored by an earlier run are reused.
    """
    known = [] if work is None else work.lines("detections", DETECTED)
    frames = _frames(video, detector.max_side, every, known)
    step = max(1, min(WHOLE, int(WHOLE * video.fps / every / LOOKS)))  # fewer if searches are rare
    stretches = iter(lambda: list(itertools.islice(frames, every * step)), [])
    begun = map_in_threads(lambda stretch: _seen(stretch[0], detector), stretches)
    # Pairs each stretch and the detections in its first frame with those in the next one's.
    open_ended = itertools.chain(begun, [(None, None)])
    between = ((*now, then) for now, (_, then) in itertools.pairwise(open_ended))
    nowhere = contextlib.nullcontext(lambda found: None)
    number = 0
    with nowhere if work is None else work.append("detections") as note:
        for _, seen in map_in_threads(lambda item: _complete(detector, *item), between):
            for found in seen:
                if number >= len(known):
                    note(None if found is None else np.column_stack(found).tolist())
                number += 1
                yield found


class _Input(NamedTuple):
    """A frame to be searched."""

    image: np.ndarray
    """uint8 [h w 3] RGB, at the detector's size"""
    size: tuple[int, int]
    """width, height of the frame itself, pixels"""

    def scale(self) -> np.ndarray:
        """Returns pixels of the frame per pixel of the image, for boxes [... 4]."""
        return np.tile(np.array(self.size) / self.image.shape[1::-1], 2).astype(np.float32)


_Seen = Detections | None  # None: the frame is damaged
DETECTED = ([[float] * 5], None)  # form of a stored frame: boxes and scores; null: damaged


def _frames(video: Video, max_side: int, every: int, known: list) -> Iterator[_Input | _Seen]:
    """Yields each frame's image, if it needs a search, or else its known detections."""
    for frame in video.frames():
        if frame.index < len(known):
            rows = known[frame.index]
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
    return _seen(_input(frame, detector.max_side), detector)


def _seen(frame: _Input | _Seen, detector: Detector, expected: np.ndarray | None = None) -> _Seen:
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


def _complete(
    detector: Detector, stretch: list[_Input | _Seen], before: _Seen, after: _Seen
) -> list[_Seen]:
    """Searches the rest of a stretch of frames.

    before, after: detections in its first frame, and in the frame after its last; None: unknown.
    """
    seen = [before]
    for index, frame in enumerate(stretch[1:], 1):
        expected = None
        if before is not None and after is not None:
            evident, fraction = EVIDENT * detector.sure_score, index / len(stretch)
            expected = between_looks(before, after, evident, fraction)
        seen.append(_seen(frame, detector, expected))
    return seen


def between_looks(
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
    alone = [np.delete(np.arange(len(a.scores)), b) for a, b in ((before, first), (after, second))]
    if any((a.scores[rows] >= evident).any() for a, rows in zip((before, after), alone)):
        return None
    moving = before.boxes[first] * (1 - fraction) + after.boxes[second] * fraction
    return np.concatenate([moving, before.boxes[alone[0]], after.boxes[alone[1]]])
