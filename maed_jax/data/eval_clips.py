"""Clips for evaluation: every frame of every track once, in order, with its labels."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import grain
import numpy as np

from maed_jax.data import images, samples, schema, windows
from maed_jax.data.augment import Changes
from maed_jax.data.records import Records, dataset_directory
from maed_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class EvalBatch:
    """Clips, their labels and where their frames belong.

    The last batch of a pass is filled up with clips of zeros.

    Attributes:
      image: RGB crops, uint8 `[b t h w 3]`.
      labels: as in training, all with axes `b t`: keypoints_2d in [-1, 1] of the crop,
        keypoints_3d, pose, shape, has_smpl, has_3d; and as recorded: box (pixels of the stored
        picture), image_size, intrinsics, frame (number within its video), frame_rate, valid,
        gender, body.
      track: number of each clip's track in `EvaluationClips.tracks`, int64 `[b]`; -1 for filling.
      frame: number of each frame within its track, int64 `[b t]`.
      mask: bool `[b t]`; true for frames that count, each frame of a track once. False where a
        track was padded to a whole clip, in filling, and where a picture cannot be read.
    """

    image: np.ndarray
    labels: dict[str, np.ndarray]
    track: np.ndarray
    frame: np.ndarray
    mask: np.ndarray


_RECORDED = tuple("box image_size intrinsics frame frame_rate valid gender body".split())


class EvaluationClips:
    """Iterable over `EvalBatch`es; each pass gives the same ones.

    Attributes:
      tracks: the tracks that are looked at, in order.
      skipped: how many frames of the latest pass had pictures that could not be read.
    """

    def __init__(
        self,
        records: Records,
        tracks: list[schema.Track],
        clip_length: int,
        image_size: int,
        *,
        stride: int = 8,
        batch_size: int = 8,
        margin: float = images.CROP_MARGIN,
        limit: int = 0,
    ):
        """See `evaluation_clips`."""
        self.tracks = tracks
        self.skipped = 0
        self._records, self._batch_size = records, batch_size
        self._size, self._changes = image_size, Changes(scale=margin)
        self._clips: list[tuple[int, np.ndarray, np.ndarray]] = []  # track, frames, mask
        starts = []  # the first clip of each window
        for number, track in enumerate(tracks):
            frames, mask = windows.eval_windows(track.length, clip_length, stride)
            starts += range(len(self._clips), len(self._clips) + len(frames), stride)
            self._clips += [(number, f, m) for f, m in zip(frames, mask)]
        if 0 < limit < len(starts):
            ends = [*starts[1:], len(self._clips)]
            chosen = np.linspace(0, len(starts) - 1, limit).round().astype(int)
            self._clips = [c for i in chosen for c in self._clips[starts[i] : ends[i]]]

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._clips) // self._batch_size)

    def __iter__(self) -> Iterator[EvalBatch]:
        self.skipped = 0
        read = grain.ReadOptions(
            num_threads=os.cpu_count() or 1, prefetch_buffer_size=2 * self._batch_size
        )
        clips = grain.MapDataset.range(len(self._clips)).map(self._load).to_iter_dataset(read)
        waiting = []
        for clip in clips:
            self.skipped += clip.pop("skipped")
            waiting.append(clip)
            if len(waiting) == self._batch_size:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def empty(self, *shape: int) -> list[np.ndarray]:
        """An array of NaN, float32 `[length *shape]`, for each track; to be filled by `place`."""
        return [np.full((track.length, *shape), np.nan, np.float32) for track in self.tracks]

    def place(self, out: list[np.ndarray], batch: EvalBatch, values: np.ndarray) -> None:
        """Writes `values` `[b t ...]` of a batch to where its frames belong in `out`."""
        for track, frame, mask, value in zip(batch.track, batch.frame, batch.mask, values):
            if track >= 0:
                out[track][frame[mask]] = value[mask]

    def _load(self, number: int) -> dict:
        track_number, frames, mask = self._clips[number]
        track = self.tracks[track_number]
        unique, back = np.unique(frames, return_inverse=True)  # short tracks repeat frames
        records = [self._records[track.start + frame] for frame in unique]
        affines = samples.affines_of(records, self._size, self._changes)
        pictures = np.zeros((len(records), self._size, self._size, 3), np.uint8)
        readable = np.ones(len(records), bool)
        for i, record in enumerate(records):
            try:
                images.decode_crop(record["image"], affines[i], self._size, pictures[i])
            except images.ImageError as error:
                name = samples.name_of(self._records, track.start + unique[i], record)
                logging.getLogger(__name__).warning("left out: %s: %s", name, error)
                readable[i] = False
        labels = samples.labels(records, affines, self._size, self._changes)
        labels |= {name: np.stack([record[name] for record in records]) for name in _RECORDED}
        return {
            "image": pictures[back],
            "labels": {name: value[back] for name, value in labels.items()},
            "track": np.int64(track_number),
            "frame": frames,
            "mask": mask & readable[back],
            "skipped": int((mask & ~readable[back]).sum()),
        }

    def _batch(self, clips: list[dict]) -> EvalBatch:
        missing = self._batch_size - len(clips)

        def stacked(name, part=lambda clip: clip):
            rows = np.stack([part(clip)[name] for clip in clips])
            return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])

        track = stacked("track")
        track[len(clips) :] = -1
        labels = {name: stacked(name, lambda clip: clip["labels"]) for name in clips[0]["labels"]}
        return EvalBatch(stacked("image"), labels, track, stacked("frame"), stacked("mask"))


def evaluation_clips(
    directory: str | Path,
    split: str,
    clip_length: int,
    image_size: int,
    subset: str | None = None,
    *,
    stride: int = 8,
    batch_size: int = 8,
    margin: float = images.CROP_MARGIN,
    limit: int = 0,
) -> EvaluationClips:
    """The clips that a split is evaluated on: windows of `clip_length * stride` frames as `stride`
    interleaved clips, see `data.windows.eval_windows`.

    Args:
      directory: folder of the dataset, or of its versions.
      image_size: side of the crops, pixels.
      subset: only tracks of this part of the split.
      batch_size: clips in a batch.
      margin: side of the crops in longer sides of the boxes.
      limit: only so many windows, spread evenly over the split; 0 for all.

    Raises:
      UserError: no such dataset, split or subset.
    """
    records = Records(dataset_directory(directory), split)
    tracks = [t for t in records.tracks if subset in (None, t.subset)]
    if not tracks:
        names = sorted({t.subset for t in records.tracks if t.subset})
        known = f"its subsets are {', '.join(names)}" if names else "it has no subsets"
        what = f"no subset {subset!r}; {known}" if records.tracks and subset else "no tracks"
        raise UserError(f"the split {split!r} of {records.directory} has {what}")
    return EvaluationClips(
        records,
        tracks,
        clip_length,
        image_size,
        stride=stride,
        batch_size=batch_size,
        margin=margin,
        limit=limit,
    )
