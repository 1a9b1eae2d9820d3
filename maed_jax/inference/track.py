"""Links the people found in single frames into tracks.

Detections are linked frame by frame to the boxes that tracks predict, by optimal assignment: first
the sure ones, then the weak ones to the remaining tracks (as in ByteTrack, Zhang et al., ECCV 2022:
weak boxes never start a track but keep one alive). The similarity is the overlap of enlarged boxes
(Yang et al., WACV 2023), which tolerates fast motion and the coarse sizes of HOG windows. Tracks
are finished when the whole video is known, so gaps are interpolated, tracks are extended backwards
too, and those that were only a part of somebody are dropped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from maed_jax.inference.detections import NOBODY, Detections, iou

ENLARGE = 1.3  # factor for boxes before their overlap is measured
LEAST_OVERLAP = 0.25  # of enlarged boxes of the same person
SIZE_RATIO = 0.62  # least ratio of the smaller to the larger height for the same person
BRIEF = 1 / 3  # of a track's detections; a box around it for less than this was never a person
PART_FRACTION = 0.65  # of a small box inside a large one, to be a part of the same person
MOSTLY_INSIDE = 0.6  # mean of that fraction over a track; people side by side do not reach it
# overlap with the expected box from which a small box counts as that person, rather than as a part
# of somebody in front
AS_EXPECTED = 0.7
MAX_GAP = 1.5  # seconds without a detection after which a track ends
MAX_HOLD = 0.5  # seconds that a track is held to reach the first or last frame of the video
STEADY = 0.75  # seconds before and after over which a person's height is assumed constant
STEADY_RATIO = 0.75  # least ratio of the smaller to the larger of a height and the median around it
SURE_FRACTION = 0.3  # of a track's detections; with fewer sure ones it is, say, a person-like tree
VELOCITY_TIME = 0.4  # time constant of the mean velocity, seconds
SIZE_GAIN = 0.25  # weight of a new box in the mean size


@dataclasses.dataclass(frozen=True)
class Track:
    """One person through a video."""

    id: int
    frames: np.ndarray
    """int64 [n] frame numbers from 0, ascending"""
    boxes: np.ndarray
    """float32 [n 4] centre x, centre y, width, height of the person, pixels, no margin"""
    detected: np.ndarray
    """bool [n]; True: the person was detected in this frame, or in those searched right before and
    after it; False: they were missed, and the box is interpolated or held"""
    scores: np.ndarray
    """float32 [n] the detection's score, interpolated like the box; 0 where `detected` is False"""

    def runs(self) -> list[slice]:
        """Returns the stretches of consecutive frames, as slices of the arrays."""
        return stretches(self.frames)


def stretches(frames: np.ndarray) -> list[slice]:
    """Returns slices of consecutive numbers in ascending frame numbers [n]."""
    starts = np.flatnonzero(np.diff(frames, prepend=-2) != 1)
    return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], len(frames)])]


def max_gap(fps: float) -> int:
    """Returns the most frames without a detection that a track bridges."""
    return max(2, round(MAX_GAP * fps))


class _OpenTrack:
    """A track that is still growing."""

    def __init__(self, frame: int, box: np.ndarray, score: float, fps: float):
        self.frames, self.boxes, self.scores = [frame], [box], [score]
        self.fps = fps
        self.size, self.velocity = box[2:].copy(), np.zeros(2, np.float32)

    def predict(self, frame: int, longest: float) -> np.ndarray:
        """Returns the box expected in `frame`, extrapolating motion by at most `longest` frames."""
        ahead = min(frame - self.frames[-1], longest)
        return np.concatenate([self.boxes[-1][:2] + self.velocity * ahead, self.size])

    def add(self, frame: int, box: np.ndarray, score: float) -> None:
        step = (box[:2] - self.boxes[-1][:2]) / (frame - self.frames[-1])
        gain = max(1 / (1 + VELOCITY_TIME * self.fps), 1 / (len(self.frames) + 1))
        self.velocity += gain * (step - self.velocity)
        self.size += SIZE_GAIN * (box[2:] - self.size)
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(score)

    def reversed(self) -> _OpenTrack:
        """Returns the track with time running backwards (frame numbers negated)."""
        back = _OpenTrack(-self.frames[-1], self.boxes[-1], self.scores[-1], self.fps)
        for i in range(len(self.frames) - 2, -1, -1):
            back.add(-self.frames[i], self.boxes[i], self.scores[i])
        return back


class Tracker:
    """Takes detections frame by frame and returns tracks at the end."""

    def __init__(self, fps: float, sure: float, parts: bool):
        """Starts without any tracks.

        Args:
          fps: frames per second.
          sure: least score of a detection that may start a track.
          parts: whether detections may show only legs or a torso; people who stay in front of
            others who are much larger are then taken for parts of them.
        """
        self._fps, self._sure, self._parts = fps, sure, parts
        self._gap = max_gap(fps)
        self._growing: list[_OpenTrack] = []
        self._ended: list[_OpenTrack] = []
        self._unmatched: dict[int, Detections] = {}  # detections without a track

    def step(self, frame: int, detections: Detections) -> None:
        """Adds the detections of a frame. Frame numbers must ascend, and may have gaps."""
        alive = [t for t in self._growing if frame - t.frames[-1] <= self._gap]
        self._ended += [t for t in self._growing if frame - t.frames[-1] > self._gap]
        boxes, scores = detections
        unmatched, unmatched_tracks = np.ones(len(boxes), bool), list(alive)
        matched_boxes = np.zeros((0, 4), np.float32)
        for eligible in (scores >= self._sure, scores < self._sure):
            candidates = np.flatnonzero(eligible & unmatched)
            tracks = unmatched_tracks
            expected = [t.predict(frame, self._fps / 2) for t in tracks]
            matches = [(t, candidates[c]) for t, c in match(expected, boxes[candidates])]
            matched_boxes = np.concatenate([matched_boxes, *(boxes[[i]] for _, i in matches)])
            for t, i in matches:
                # A hidden person's track would otherwise follow the legs of the one in front.
                maybe_part = self._parts and _is_part(boxes[i], matched_boxes).any()
                if maybe_part and iou(boxes[i], expected[t])[0, 0] < AS_EXPECTED:
                    continue
                tracks[t].add(frame, boxes[i], float(scores[i]))
                unmatched[i] = False
            unmatched_tracks = [t for t in tracks if t.frames[-1] != frame]
        predicted = np.array([t.predict(frame, self._fps / 2) for t in alive]).reshape(-1, 4)
        for i in np.flatnonzero(unmatched & (scores >= self._sure)):
            if not (self._parts and _is_part(boxes[i], predicted).any()):
                alive.append(_OpenTrack(frame, boxes[i], float(scores[i]), self._fps))
                unmatched[i] = False
        if unmatched.any():
            self._unmatched[frame] = Detections(boxes[unmatched], scores[unmatched])
        self._growing = alive

    def finish(self, num_frames: int) -> list[Track]:
        """Returns the tracks in a video of `num_frames` frames by first frame, with ids from 1."""
        found = [self._extend_back(t) for t in self._ended + self._growing]
        found = [t for t in found if self._is_person(t, num_frames)]
        tracks = [self._fill(t, num_frames) for t in _without_duplicates(found, self._parts)]
        tracks.sort(key=lambda t: (t.frames[0], -float(t.boxes[0, 3])))
        return [dataclasses.replace(t, id=i) for i, t in enumerate(tracks, 1)]

    def _extend_back(self, track: _OpenTrack) -> _OpenTrack:
        """Extends a track back beyond the sure detection that started it."""
        back, frame = track.reversed(), track.frames[0] - 1
        while frame >= 0 and -frame - back.frames[-1] <= self._gap:
            boxes, scores = self._unmatched.get(frame, NOBODY)
            for _, i in match([back.predict(-frame, self._fps / 2)], boxes):
                back.add(-frame, boxes[i], float(scores[i]))
                rest = np.arange(len(boxes)) != i
                self._unmatched[frame] = Detections(boxes[rest], scores[rest])
            frame -= 1
        return back.reversed()

    def _is_person(self, track: _OpenTrack, num_frames: int) -> bool:
        """Whether the track has detections for half a second (a third of a very short video) and in
        a third of its frames, and enough of them are sure."""
        enough = min(max(3, math.ceil(self._fps / 2)), math.ceil(num_frames / 3))
        detected = len(track.frames)
        span = track.frames[-1] - track.frames[0] + 1
        sure = sum(score >= self._sure for score in track.scores)
        return detected >= max(enough, span / 3) and sure >= detected * SURE_FRACTION

    def _fill(self, track: _OpenTrack, num_frames: int) -> Track:
        """Interpolates gaps; holds the ends where the video starts or stops right beside them."""
        hold = max(1, round(MAX_HOLD * self._fps))
        first, last = track.frames[0], track.frames[-1]
        first = 0 if first <= hold else first
        last = num_frames - 1 if num_frames - 1 - last <= hold else last
        frames, scores = np.array(track.frames), np.array(track.scores)
        boxes, valid = steady_sizes(frames, np.array(track.boxes), round(STEADY * self._fps))
        return fill(0, frames[valid], boxes[valid], scores[valid], first, last)


def steady_sizes(
    frames: np.ndarray, boxes: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Replaces the size of each box [n 4] by the median of those at most `reach` frames away.

    A detector occasionally takes legs for a person, and the sizes of its windows are coarse; people
    keep their size for a second.

    Returns:
      the boxes; and bool [n], False where a box was so far from the median that it showed something
      else, so that its centre is useless too.
    """
    heights = boxes[:, 3]
    median = np.empty_like(boxes[:, 2:])
    for i, frame in enumerate(frames):
        low, high = np.searchsorted(frames, [frame - reach, frame + reach + 1])
        median[i] = np.median(boxes[low:high, 2:], axis=0)
    ratio = heights / median[:, 1]
    valid = np.minimum(ratio, 1 / ratio) >= STEADY_RATIO
    return np.concatenate([boxes[:, :2], median], axis=1), valid


def fill(
    id: int, frames: np.ndarray, boxes: np.ndarray, scores: np.ndarray, first: int, last: int
) -> Track:
    """Returns a track of all frames from `first` to `last`: gaps interpolated, ends held."""
    all_frames = np.arange(first, last + 1)
    columns = [np.interp(all_frames, frames, column) for column in np.asarray(boxes).T]
    detected = np.isin(all_frames, frames)
    all_scores = np.zeros(len(all_frames), np.float32)
    all_scores[detected] = scores[(frames >= first) & (frames <= last)]
    return Track(id, all_frames, np.stack(columns, -1).astype(np.float32), detected, all_scores)


def interpolated(track: Track, every: int, num_frames: int) -> Track:
    """Expands a track of one frame in `every` to all frames of a video of `num_frames` frames.

    Boxes in between are interpolated; `detected` there is true if it is on both sides. The few
    frames after the last one searched keep its box.
    """
    searched = track.frames * every
    last = num_frames - 1 if searched[-1] + every >= num_frames else searched[-1]
    frames = np.arange(searched[0], last + 1)
    columns = (track.detected, track.scores, *track.boxes.T)
    detected, scores, *boxes = (np.interp(frames, searched, column) for column in columns)
    detected = detected == 1
    scores = np.where(detected, scores, 0).astype(np.float32)
    return Track(track.id, frames, np.stack(boxes, -1).astype(np.float32), detected, scores)


def match(expected: Sequence[np.ndarray], boxes: np.ndarray) -> list[tuple[int, int]]:
    """Returns the best pairs (indices) of expected and found boxes [n 4] that can be the same
    person, that is, overlap and have similar sizes."""
    if not len(expected) or not len(boxes):
        return []
    a, b = np.array(expected, np.float32), np.asarray(boxes, np.float32)
    grow = np.array([1, 1, ENLARGE, ENLARGE], np.float32)
    overlap = iou(a * grow, b * grow)
    ratio = a[:, None, 3] / b[None, :, 3]
    ratio = np.minimum(ratio, 1 / ratio)
    possible = (overlap >= LEAST_OVERLAP) & (ratio >= SIZE_RATIO)
    # Maximise the sum, not the number of pairs: a good pair must not give way to two bad ones.
    similarity = np.where(possible, overlap * ratio**2, 0)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns) if possible[i, j]]


def _is_part(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns for each of `others` [n 4] whether `box` [4] looks like legs or a torso of it."""
    if not len(others):
        return np.zeros(0, bool)
    return (iou(box, others, over="first")[0] >= PART_FRACTION) & (
        box[3] <= others[:, 3] * (SIZE_RATIO + 0.1)
    )


def _without_duplicates(tracks: list[_OpenTrack], parts: bool) -> list[_OpenTrack]:
    """Drops tracks that mostly duplicate a better one. With `parts`, also drops those that were a
    part of a better one or, for a short while, a box around one, as HOG finds it where somebody
    stands in front of a post."""
    if parts:
        tracks = [t for t in tracks if not any(_surrounds(t, other) for other in tracks)]
    kept: list[_OpenTrack] = []
    for track in sorted(tracks, key=lambda t: -sum(t.scores) * float(np.mean(t.boxes, 0)[3])):
        if not any(_is_duplicate(better, track, parts) for better in kept):
            kept.append(track)
    return kept


def _surrounds(brief: _OpenTrack, track: _OpenTrack) -> bool:
    if _disjoint(brief, track) or len(brief.frames) >= BRIEF * len(track.frames):
        return False
    around = [_is_part(b, a[None])[0] for a, b in zip(*_common_boxes(brief, track))]
    return len(around) >= len(brief.frames) / 2 and bool(np.mean(around) > 0.5)


def _is_duplicate(better: _OpenTrack, track: _OpenTrack, parts: bool) -> bool:
    if _disjoint(better, track):
        return False
    pairs = list(zip(*_common_boxes(track, better)))
    if len(pairs) < len(track.frames) / 2:
        return False
    duplicate = np.array([iou(a, b)[0, 0] > 0.6 for a, b in pairs])
    if not parts:
        return bool(duplicate.mean() > 0.5)
    part = np.array([_is_part(a, b[None])[0] for a, b in pairs])
    inside = [max(iou(a, b, over="first")[0, 0], iou(b, a, over="first")[0, 0]) for a, b in pairs]
    return bool((duplicate | part).mean() > 0.5 or np.mean(inside) > MOSTLY_INSIDE)


def _disjoint(track: _OpenTrack, other: _OpenTrack) -> bool:
    """Whether one ends before the other begins, like most pairs in a long video."""
    return track.frames[-1] < other.frames[0] or other.frames[-1] < track.frames[0]


def _common_boxes(track: _OpenTrack, other: _OpenTrack) -> tuple[np.ndarray, np.ndarray]:
    """Returns the boxes [n 4] of both in those frames of `track` that `other` spans."""
    frames = np.array([f for f in track.frames if other.frames[0] <= f <= other.frames[-1]])
    return tuple(
        np.stack([np.interp(frames, t.frames, column) for column in np.array(t.boxes).T], -1)
        for t in (track, other)
    )
