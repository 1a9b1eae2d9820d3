"""People's boxes from a file, found by another detector or tracker or drawn by hand.

Two formats: text, as in the MOT challenge (Milan et al., 2016), and `.npz`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.numpy import open_npz
from maed_jax.inference.detections import Detections
from maed_jax.inference.track import Track, Tracker, fill, interpolated, max_gap


@dataclasses.dataclass(frozen=True)
class BoxesFile:
    """Boxes of a video, in any order."""

    path: Path
    frames: np.ndarray
    """int64 [n] frame numbers from 0"""
    ids: np.ndarray
    """int64 [n]; negative: unknown person"""
    boxes: np.ndarray
    """float32 [n 4] centre x, centre y, width, height, pixels"""
    scores: np.ndarray
    """float32 [n]"""
    lines: np.ndarray
    """int64 [n] position in the file (line from 1, or row from 0)"""

    def tracks(self, num_frames: int, fps: float) -> list[Track]:
        """Returns the people of a video of `num_frames` frames.

        Boxes with ids keep them: gaps up to `track.max_gap` are interpolated, longer ones stay, and
        nothing is dropped. Boxes without ids are linked like a detector's, and numbered after the
        largest id.

        Raises:
          UserError: the video has no frame of some box's number.
        """
        late = np.flatnonzero(self.frames >= num_frames)
        if len(late):
            raise UserError(
                f"{self._place(late[0])}: the video has {num_frames} frames, but this box is in a "
                "later one; do these boxes belong to this video?"
            )
        tracks = [self._track(int(id), fps) for id in np.unique(self.ids[self.ids >= 0])]
        unknown = np.flatnonzero(self.ids < 0)
        if len(unknown):
            last_id = max((track.id for track in tracks), default=0)
            linked = self._link(unknown, num_frames, fps)
            tracks += [dataclasses.replace(track, id=last_id + track.id) for track in linked]
        return tracks

    def _track(self, id: int, fps: float) -> Track:
        """Returns the track of the boxes with this id."""
        rows = np.flatnonzero(self.ids == id)
        rows = rows[np.argsort(self.frames[rows])]
        cuts = np.flatnonzero(np.diff(self.frames[rows]) > max_gap(fps)) + 1
        segments = []
        for segment in np.split(rows, cuts):
            frames, boxes, scores = self.frames[segment], self.boxes[segment], self.scores[segment]
            segments.append(fill(id, frames, boxes, scores, int(frames[0]), int(frames[-1])))
        fields = ("frames", "boxes", "detected", "scores")
        return Track(id, *(np.concatenate([getattr(s, f) for s in segments]) for f in fields))

    def _link(self, rows: np.ndarray, num_frames: int, fps: float) -> list[Track]:
        """Links these rows like a detector's boxes; ids count from 1.

        If only every second (third, ...) frame has boxes, the frames between count as not searched.
        """
        frames = np.unique(self.frames[rows])
        every = int(np.gcd.reduce(np.diff(frames))) if len(frames) > 1 else 1
        first = int(frames[0]) % every
        tracker = Tracker(fps / every, sure=float(self.scores[rows].min()), parts=False)
        order = rows[np.argsort(self.frames[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(self.frames[order], prepend=-1))
        for same_frame in np.split(order, starts[1:]):
            detections = Detections(self.boxes[same_frame], self.scores[same_frame])
            tracker.step((int(self.frames[same_frame[0]]) - first) // every, detections)
        length = num_frames - first
        tracks = tracker.finish(math.ceil(length / every))
        tracks = [interpolated(track, every, length) for track in tracks]
        return [dataclasses.replace(track, frames=track.frames + first) for track in tracks]

    def _place(self, row: int) -> str:
        where = "row" if self.path.suffix.lower() == ".npz" else "line"
        return f"{self.path}, {where} {self.lines[row]}"


def read_boxes(path: str | Path) -> BoxesFile:
    """Reads a boxes file.

    `.npz`: `frames` int [n] from 0; `boxes` [n 4] centre x, centre y, width, height in pixels;
    `ids` int [n], if there are several people; optionally `scores` [n]. The files of `maed predict`
    qualify.

    Any other file is read as text, one box per line: `frame, id, left, top, width, height` and
    optionally `confidence`; further fields are ignored. Frame, left and top count from 1, in pixels
    of the video; id -1 means that the person is unknown. Fields are separated by commas,
    semicolons or whitespace. A first line of column names is skipped, and so are boxes with
    confidence 0, which this format defines as "ignore".

    Raises:
      UserError: there is no such file, or it is invalid (the message says where).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no boxes file {path}")
    try:
        boxes = _read_npz(path) if path.suffix.lower() == ".npz" else _read_text(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    if not len(boxes.frames):
        raise UserError(f"{path} contains no boxes")
    bad_box = ~np.isfinite(boxes.boxes).all(1) | (boxes.boxes[:, 2:] <= 0).any(1)
    for invalid, why in (
        (bad_box, "a box needs finite numbers, and a width and height above 0"),
        (~np.isfinite(boxes.scores), "a confidence must be a finite number"),
        (boxes.frames < 0, "frames are numbered from 0 in .npz files, from 1 in text files"),
        (_repeated(boxes), "this id already has a box in this frame"),
    ):
        if invalid.any():
            raise UserError(f"{boxes._place(int(np.flatnonzero(invalid)[0]))}: {why}")
    return boxes


def _repeated(boxes: BoxesFile) -> np.ndarray:
    """Returns bool [n]: whether an earlier row has the same frame and the same known id."""
    key = np.stack([boxes.frames, boxes.ids], -1)
    _, first = np.unique(key, axis=0, return_index=True)
    repeated = np.ones(len(key), bool)
    repeated[first] = False
    return repeated & (boxes.ids >= 0)


def _read_text(path: Path) -> BoxesFile:
    rows, lines = [], []
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError:
        raise UserError(
            f"{path} is neither text nor .npz; see docs/prediction.md in the source folder"
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field for field in re.split(r"[,;\s]+", line.strip()) if field]
        if not fields or line.lstrip().startswith("#"):
            continue
        try:
            values = [float(field) for field in fields[:7]]
        except ValueError:
            if not rows and number == 1 and re.match(r"[A-Za-z]", fields[0]):
                continue  # column names
            raise UserError(
                f"{path}, line {number}: {line.strip()[:60]!r} is not a row of numbers"
            ) from None
        if len(values) < 6:
            raise UserError(
                f"{path}, line {number}: found {len(values)} fields, at least 6 are needed: "
                "frame, id, left, top, width, height"
            )
        for name, value in (("frame", values[0]), ("id", values[1])):
            if not value.is_integer() or abs(value) > 2**53:
                raise UserError(f"{path}, line {number}: {name} {value:g} is not a whole number")
        confidence = values[6] if len(values) > 6 else 1.0
        if confidence != 0:
            rows.append([*values[:6], confidence])
            lines.append(number)
    table = np.array(rows, np.float64).reshape(-1, 7)
    corner = table[:, 2:4] - 1  # MOT's first pixel is (1, 1), ours (0, 0)
    boxes = np.concatenate([corner + table[:, 4:6] / 2, table[:, 4:6]], axis=1)
    return BoxesFile(
        path,
        table[:, 0].astype(np.int64) - 1,
        table[:, 1].astype(np.int64),
        boxes.astype(np.float32),
        # MOT's result files use -1 for "none"
        np.where(table[:, 6] < 0, 1, table[:, 6]).astype(np.float32),
        np.array(lines, np.int64),
    )


def _read_npz(path: Path) -> BoxesFile:
    try:
        with open_npz(path) as file:
            data = {
                name: file[name] for name in ("frames", "boxes", "ids", "scores") if name in file
            }
    except ValueError:
        raise UserError(f"{path} is not an .npz file of plain arrays") from None
    missing = [name for name in ("frames", "boxes") if name not in data]
    if missing:
        raise UserError(
            f"{path} has no array {' and no '.join(missing)}; see docs/prediction.md in the source "
            "folder"
        )
    count = data["frames"].shape[0] if data["frames"].ndim else 0
    for name, shape, kinds in (
        ("frames", (count,), "iu"),
        ("boxes", (count, 4), "iuf"),
        ("ids", (count,), "iu"),
        ("scores", (count,), "iufb"),
    ):
        if name in data and (data[name].shape != shape or data[name].dtype.kind not in kinds):
            kind = "whole numbers" if kinds == "iu" else "numbers"
            raise UserError(
                f"{path}: {name} must be {kind} of shape {list(shape)}, not "
                f"{data[name].dtype} {list(data[name].shape)}"
            )
    return BoxesFile(
        path,
        data["frames"].astype(np.int64),
        data.get("ids", np.ones(count)).astype(np.int64),
        data["boxes"].astype(np.float32),
        data.get("scores", np.ones(count)).astype(np.float32),
        np.arange(count),
    )
