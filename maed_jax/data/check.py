"""`maed data check`: checks that a prepared dataset conforms to the schema."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.data import parallel, records, schema
from maed_jax.data.images import ImageError, decode_image
from maed_jax.data.pixels import project
from maed_jax.errors import reason

RUN = 8  # consecutive records that are examined, so that the order of frames is checked
CHUNK = 1024  # records per task


@dataclasses.dataclass
class Findings:
    """The faults in a split."""

    records: int = 0
    """how many the split has"""
    examined: int = 0
    faulty: int = 0
    """how many of the examined ones have a fault"""
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    """fault -> how often"""
    first: dict[str, str] = dataclasses.field(default_factory=dict)
    """fault -> where it was found first"""
    projection: list[float] = dataclasses.field(default_factory=list)
    """for each record, median distance of 2D from projected 3D keypoints over the box's side"""

    def add(self, fault: str, where: str) -> None:
        self.counts[fault] += 1
        self.first.setdefault(fault, where)

    def merge(self, other: Findings) -> None:
        self.examined += other.examined
        self.faulty += other.faulty
        self.counts.update(other.counts)
        self.first = other.first | self.first
        self.projection += other.projection

    def lines(self, split: str) -> list[str]:
        verdict = f"{self.faulty} with faults" if self.faulty else "none with faults, but"
        verdict = verdict if self.counts else "no faults"
        return [f"{split}: {self.examined} of {self.records} records examined, {verdict}"] + [
            f"  {count:>8}  {fault} (first: {self.first[fault]})"
            for fault, count in self.counts.items()
        ]


def check(
    directory: str | Path, frames: int | None = None, processes: int | None = 1
) -> dict[str, Findings]:
    """Examines a prepared dataset, split by split, with a progress bar.

    Args:
      directory: the dataset's folder, with its dataset_info.json.
      frames: how many records of each split to examine, spread evenly; default: all.
      processes: number of processes; None: one per core.

    Raises:
      UserError: there is no dataset, or a split cannot be opened.
    """
    import tqdm

    directory = Path(directory)
    found, tasks = {}, []
    for split in records.files_of(directory):
        split_records = records.Records(directory, split)
        found[split] = Findings(records=len(split_records))
        _check_table(found[split], schema.read_tracks(directory, split), len(split_records))
        chunks = _chunks(len(split_records), frames)
        tasks += [(split_records, split, chunk) for chunk in chunks]
    total = sum(len(chunk) for *_, chunk in tasks)
    with tqdm.tqdm(total=total, desc="checking", unit=" records", mininterval=0.5) as bar:
        many = processes != 1 and len(tasks) > 1
        results = parallel.in_order(_examine, tasks, processes) if many else map(_examine, tasks)
        for (_, split, chunk), result in zip(tasks, results):
            found[split].merge(result)
            bar.update(len(chunk))
    for findings in found.values():
        if findings.projection and np.median(findings.projection) > 0.2:
            findings.add("3D keypoints do not project onto the 2D ones", "the median record")
    return found


def _chunks(total: int, frames: int | None) -> list[list[int]]:
    """Returns the numbers of the records to examine: all, or runs of consecutive ones."""
    chosen = range(total)
    if frames is not None and frames < total:
        starts = np.linspace(0, total - RUN, max(1, frames // RUN)).astype(int).clip(0)
        chosen = sorted({start + i for start in starts.tolist() for i in range(RUN)} & {*chosen})
    return [list(chosen[first : first + CHUNK]) for first in range(0, len(chosen), CHUNK)]


def _check_table(findings: Findings, tracks: list[schema.Track], total: int) -> None:
    end, names = 0, set()
    for track in tracks:
        where = f"track {track.name}"
        if track.length < 1:
            findings.add("the table has a track with no frames", where)
        if track.start != end:
            findings.add("the table has tracks that do not follow one another", where)
        if track.name in names:
            findings.add("the table has two tracks with the same name", where)
        names.add(track.name)
        end = track.start + track.length
    if end != total:
        findings.add("the table does not end where the records do", f"{end} of {total}")


def _examine(task: tuple[records.Records, str, list[int]]) -> Findings:
    split_records, _, chosen = task
    findings, starts = Findings(), [track.start for track in split_records.tracks]
    previous, frame = -2, -1
    for index in chosen:
        findings.examined += 1
        number = bisect.bisect_right(starts, index) - 1
        track = split_records.tracks[number] if number >= 0 else schema.Track("", 0, 0)
        where = f"record {index}, track {track.name}"
        try:
            record = split_records[index]
        except Exception as error:  # damaged files can raise nearly anything
            findings.add("record cannot be read", f"{where}: {reason(error)}")
            findings.faulty += 1
            continue
        found = list(faults(record))
        if record["track"] != track.name:
            found.append("the record names a different track than the table")
        if previous == index - 1 >= track.start and record["frame"] <= frame:
            found.append("frames are not in ascending order")
        previous, frame = index, record["frame"]
        for fault in found:
            findings.add(fault, f"{where} frame {frame}")
        findings.faulty += bool(found)
        error = projection_error(record)
        findings.projection += [] if error is None else [error]
    return findings


def faults(record: dict) -> Iterator[str]:
    """Yields each fault of a record by itself, as a short sentence."""
    for name, (_, kind) in schema.ARRAYS.items():
        if np.issubdtype(kind, np.floating) and not np.isfinite(record[name]).all():
            yield f"{name} holds numbers that are not finite"
            return
    try:
        size = decode_image(record[schema.IMAGE]).shape[:2]
        if size != tuple(record["image_size"]):
            yield "image_size is not the image's size"
    except ImageError:
        yield "the image cannot be decoded"
    yield from _image_faults(record)
    yield from _space_faults(record)
    if record["gender"] not in ("neutral", "male", "female"):
        yield "gender is not neutral, male or female"
    if record["body"] not in ("smpl", "mannequin"):
        yield "body is neither smpl nor mannequin"
    if not record["source"]:
        yield "source is empty"
    if record["frame"] < 0 or record["frame_rate"] < 0:
        yield "frame or frame_rate is negative"


def _image_faults(record: dict) -> Iterator[str]:
    points, box = record["keypoints_2d"], record["box"]
    size = record["image_size"][::-1]  # width, height
    visible = points[:, 2] > 0
    if points[:, 2].min() < 0 or points[:, 2].max() > 1:
        yield "the confidence of a 2D keypoint is not between 0 and 1"
    if ((points[visible, :2] < -size) | (points[visible, :2] > 2 * size)).any():
        yield "a 2D keypoint is farther from the image than the image's size"
    if (box[2:] <= 0).any():
        yield "the box has no size"
    elif (box[:2] + box[2:] / 2 < 0).any() or (box[:2] - box[2:] / 2 > size).any():
        yield "the box is outside the image"
    if not (visible.any() or record["has_3d"] or record["has_smpl"]):
        yield "there are no labels"
    focal = record["intrinsics"][:2]
    if record["intrinsics"].any() and (focal <= 0).any():
        yield "a focal length is not positive"


def _space_faults(record: dict) -> Iterator[str]:
    points, valid = record["keypoints_3d"][:, :3], record["keypoints_3d"][:, 3]
    if not np.isin(valid, (0, 1)).all():
        yield "the validity of a 3D keypoint is neither 0 nor 1"
    if record["has_3d"] and not valid.any():
        yield "has_3d is set without a valid 3D keypoint"
    if record["has_3d"] and valid.sum() >= 8:
        extent = np.ptp(points[valid > 0], axis=0).max()
        if not 0.2 < extent < 4:
            yield "3D keypoints are not in metres: the person is smaller than 0.2 or larger than 4"
    if record["has_smpl"]:
        angles = np.linalg.norm(record["pose"].reshape(24, 3), axis=-1)
        if angles.max() > 2 * np.pi + 1e-3:
            yield "pose rotates a joint by more than a full turn: not in radians?"
        if np.abs(record["shape"]).max() > 20:
            yield "shape is not that of any body (a coefficient above 20)"


def projection_error(record: dict) -> float | None:
    """Returns the median distance of 2D from projected 3D keypoints, relative to the box's side.

    None if there is no camera, the 3D keypoints are relative to the person and not the camera, or
    numbers are not finite.
    """
    points, valid = record["keypoints_3d"][:, :3], record["keypoints_3d"][:, 3] > 0
    both = valid & (record["keypoints_2d"][:, 2] > 0)
    side = record["box"][2:].max()
    if both.sum() < 4 or not record["intrinsics"].any() or side <= 0 or points[both, 2].min() < 0.5:
        return None
    projected = project(points[both], record["intrinsics"])
    distances = np.linalg.norm(projected - record["keypoints_2d"][both, :2], axis=-1)
    error = float(np.median(distances) / side)
    return error if np.isfinite(error) else None
