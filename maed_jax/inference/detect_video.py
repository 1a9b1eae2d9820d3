"""Looking for people in a video: at which frames, and at how much of them.

A detector sees 7 to 14 frames a second, and of those every fourth as a whole; where a video has
fewer, all of them, and more of them as a whole. What two such looks find and agree on is only
looked for again in between, where it must be by then; where they do not agree because somebody came
or left, the looks between them are at whole frames too. Who is in sight for less than half a
second, and in none of the whole looks, may be missed.
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

LOOKS = 7  # a second, at least: people do not walk away in between
ENOUGH = 12  # looks in all, at least, so that somebody is told from a mistake in a short video too
WHOLE = 4  # looks, at most, of which one is at the whole frame
EVIDENT = 0.5  # of the score that leaves no doubt; who is found with less comes and goes by chance


def frames_per_look(video: Video) -> int:
    """One frame in how many is looked at, evenly spread."""
    every = int(video.fps / LOOKS)
    if video.announced:
        every = min(every, video.announced // ENOUGH)
    return max(1, every)


def detections(
    video: Video, detector: Detector, every: int = 1, work: Work | None = None
) -> Iterator[Detections | None]:
    """Yields for each frame the people in it, in pixels of the video; None for a damaged frame.

    Args:
      every: one frame in so many is looked at; in the others there is nobody.
      work: keeps what was found in each frame, and begins with what an earlier run left there.
    """
    known = [] if work is None else work.lines("detections", DETECTED)
    frames = _frames(video, detector.max_side, every, known)
    apart = max(1, min(WHOLE, int(WHOLE * video.fps / every / LOOKS)))  # fewer where looks are rare
    stretches = iter(lambda: list(itertools.islice(frames, every * apart)), [])
    begun = map_in_threads(lambda stretch: _seen(stretch[0], detector), stretches)
    # Each stretch with what was seen at its beginning, and at that of the next.
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


class _Picture(NamedTuple):
    """A frame that is to be looked at."""

    image: np.ndarray
    """uint8 [h w 3] RGB, as large as the detector takes it"""
    size: tuple[int, int]
    """width, height of the frame itself"""

    def scale(self) -> np.ndarray:
        """Pixels of the frame per pixel of the image, for boxes [... 4]."""
        return np.tile(np.array(self.size) / self.image.shape[1::-1], 2).astype(np.float32)


_Seen = Detections | None  # None: the frame is damaged
DETECTED = ([[float] * 5], None)  # what is kept of a frame: boxes and scores; null: it is damaged


def _frames(video: Video, max_side: int, every: int, known: list) -> Iterator[_Picture | _Seen]:
    """What is to be looked at, or known of each frame without."""
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
            yield _picture(frame, max_side)


def _picture(frame: Frame, max_side: int) -> _Picture:
    return _Picture(frame.image(max_side), frame.size)


def detect(frame: Frame, detector: Detector) -> Detections:
    """The people in a frame, in pixels of the video."""
    return _seen(_picture(frame, detector.max_side), detector)


def _seen(frame: _Picture | _Seen, detector: Detector, expected: np.ndarray | None = None) -> _Seen:
    """Looks at a frame, where not all is known of it: at all of it or, where people are `expected`
    (boxes [n 4]), there."""
    if not isinstance(frame, _Picture):
        return frame
    scale = frame.scale()
    if expected is None:
        found = detector(frame.image)
    else:
        found = detector.redetect_near(frame.image, expected / scale)
    return Detections(found.boxes * scale, found.scores)


def _complete(
    detector: Detector, stretch: list[_Picture | _Seen], before: _Seen, after: _Seen
) -> list[_Seen]:
    """Looks at the rest of a stretch of frames.

    before, after: what was seen in its first frame, and in the one after its last; None: unknown.
    """
    seen = [before]
    for index, frame in enumerate(stretch[1:], 1):
        expected = None
        if before is not None and after is not None:
            evident, share = EVIDENT * detector.sure_score, index / len(stretch)
            expected = between_looks(before, after, evident, share)
        seen.append(_seen(frame, detector, expected))
    return seen


def between_looks(
    before: Detections, after: Detections, evident: float, share: float
) -> np.ndarray | None:
    """Where people must be between two looks: boxes [n 4], or None where they may be anywhere.

    That is so when one of the looks has evidently found somebody whom the other has not. Of others
    who are in one of them only, the box is where it was.

    Args:
      evident: scores from there on.
      share: of the time between the two looks that has passed.
    """
    pairs = match(before.boxes, after.boxes)
    first, second = np.array(pairs, int).reshape(-1, 2).T
    alone = [np.delete(np.arange(len(a.scores)), b) for a, b in ((before, first), (after, second))]
    if any((a.scores[rows] >= evident).any() for a, rows in zip((before, after), alone)):
        return None
    moving = before.boxes[first] * (1 - share) + after.boxes[second] * share
    return np.concatenate([moving, before.boxes[alone[0]], after.boxes[alone[1]]])
