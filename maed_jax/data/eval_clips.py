"""Clips for evaluation, with every frame of every track once, in order; labels of whole tracks."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import grain
import numpy as np

from maed_jax.data import images, samples, schema, windows
from maed_jax.data.augment import Changes
from maed_jax.data.records import Records, dataset_directory
from maed_jax.data.track_labels import TrackLabels, read_labels
from maed_jax.errors import UserError
from maed_jax.machine import available_cores


@dataclasses.dataclass(frozen=True)
class EvalBatch:
    """Clips and where their frames belong.

    The last batch of a pass is padded with clips of zeros.

    Attributes:
      image: RGB crops, uint8 `[b t h w 3]`.
      track: index of each clip's track in `EvaluationClips.tracks`, int64 `[b]`; -1 for padding.
      frame: index of each frame among its track's predicted frames, int64 `[b t]`.
      mask: bool `[b t]`, true for frames that count, each frame of a track once. False where a
        track was padded to a whole clip, in clips of padding, and for unreadable images.
    """

    image: np.ndarray
    track: np.ndarray
    frame: np.ndarray
    mask: np.ndarray


_FIELDS = ("image", "box", "track", "frame")  # of a record, which a clip is made from


class EvaluationClips:
    """Iterable over `EvalBatch`es; each pass gives the same ones.

    Attributes:
      tracks: the evaluated tracks, in order.
      frames: for each track, the indices of its evaluated frames, int64.
      skipped: how many frames in the latest pass had unreadable images.
    """

    def __init__(
        self,
        records: Records,
        tracks: list[schema.Track],
        clip_length: int,
        image_size: int,
        *,
        stride: int,
        batch_size: int,
        margin: float,
        limit: int = 0,
        frames: Sequence[np.ndarray] | None = None,
        every: int = 1,
        labels: list[TrackLabels] | None = None,
    ):
        """See `evaluation_clips`; `tracks` may be any tracks of `records`.

        Args:
          frames: for each track, the indices of its evaluated frames, at least one; the others are
            treated as if they had not been recorded. Default: all.
          every: predict only every n-th frame of each window, see `windows.sparse_windows`.
          labels: of those frames, if they have been read already.
        """
        self.tracks = tracks
        self.frames = [np.arange(t.length) for t in tracks] if frames is None else list(frames)
        self.every, self.span = every, clip_length * stride
        self.skipped = 0
        if labels is not None:
            self.labels = labels
        self._records, self._batch_size = records, batch_size
        self._size, self._changes = image_size, Changes(scale=margin)
        # track, frames, their indices among the predicted frames, mask
        self._clips: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        starts = []  # the first clip of each window
        for number, evaluated in enumerate(self.frames):
            if every == 1:
                index, mask = windows.eval_windows(len(evaluated), clip_length, stride)
                place = index
            else:
                index, place = windows.sparse_windows(len(evaluated), clip_length, stride, every)
                mask = np.ones_like(index, bool)
            clips = zip(evaluated[index], place, mask)
            starts += range(len(self._clips), len(self._clips) + len(index), stride // every)
            self._clips += [(number, *clip) for clip in clips]
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
            num_threads=available_cores(), prefetch_buffer_size=2 * self._batch_size
        )
        clips = grain.MapDataset.range(len(self._clips)).map(self._load).to_iter_dataset(read)
        for batch in clips.batch(self._batch_size):
            self.skipped += int(batch.pop("skipped").sum())
            yield EvalBatch(**self._padded(batch))

    @property
    def num_whole(self) -> int:
        """Number of clips without padding."""
        return sum(bool(mask.all()) for *_, mask in self._clips)

    @functools.cached_property
    def labels(self) -> list[TrackLabels]:
        """The labels of each track's evaluated frames; read once."""
        return [
            read_labels(self._records, track).take(frames)
            for track, frames in zip(self.tracks, self.frames)
        ]

    @property
    def any_pose_labels(self) -> bool:
        """Whether a frame of the clips has pose labels; only if every frame is predicted."""
        return any(
            self.labels[track].has_smpl[place[mask]].any() for track, _, place, mask in self._clips
        )

    def empty(self, *shape: int) -> list[np.ndarray]:
        """Returns an array of NaN, float32 `[frames *shape]`, for each track, for `place` to fill.

        It has a row for every evaluated frame; with `every` n, only for each n-th frame of the
        track padded to whole windows.
        """
        lengths = [len(frames) for frames in self.frames]
        if self.every > 1:
            lengths = [-(-n // self.span) * self.span // self.every for n in lengths]
        return [np.full((length, *shape), np.nan, np.float32) for length in lengths]

    def place(self, out: list[np.ndarray], batch: EvalBatch, values: np.ndarray) -> None:
        """Writes a batch's `values` `[b t ...]` to where its frames belong in `out`."""
        for track, frame, mask, value in zip(batch.track, batch.frame, batch.mask, values):
            if track >= 0:
                out[track][frame[mask]] = value[mask]

    def crop(self, track: int, frame: int) -> np.ndarray:
        """Returns the model's crop of an evaluated frame, RGB uint8 `[h w 3]`.

        Raises:
          ImageError: the image cannot be read.
        """
        index = self.tracks[track].start + self.frames[track][frame]
        record = self._records.read(index, _FIELDS)
        (affine,) = samples.affines_of([record], self._size, self._changes)
        return images.decode_crop(record["image"], affine, self._size)

    def _load(self, number: int) -> dict:
        track_number, frames, place, mask = self._clips[number]
        track = self.tracks[track_number]
        unique, inverse = np.unique(frames, return_inverse=True)  # short tracks repeat frames
        records = [self._records.read(track.start + frame, _FIELDS) for frame in unique]
        affines = samples.affines_of(records, self._size, self._changes)
        crops = np.zeros((len(records), self._size, self._size, 3), np.uint8)
        readable = np.ones(len(records), bool)
        for i, record in enumerate(records):
            try:
                images.decode_crop(record["image"], affines[i], self._size, crops[i])
            except images.ImageError as error:
                name = samples.name_of(self._records, track.start + unique[i], record)
                logging.getLogger(__name__).warning("left out: %s: %s", name, error)
                readable[i] = False
        return {
            "image": crops[inverse],
            "track": np.int64(track_number),
            "frame": place,
            "mask": mask & readable[inverse],
            "skipped": int((mask & ~readable[inverse]).sum()),
        }

    def _padded(self, batch: dict) -> dict:
        missing = self._batch_size - len(batch["track"])
        if missing:
            batch = {
                name: np.pad(rows, [(0, missing), *[(0, 0)] * (rows.ndim - 1)])
                for name, rows in batch.items()
            }
            batch["track"][-missing:] = -1
        return batch


def evaluation_clips(
    directory: str | Path,
    split: str,
    clip_length: int,
    image_size: int,
    subset: str | None = None,
    *,
    stride: int,
    batch_size: int,
    margin: float,
    limit: int = 0,
) -> EvaluationClips:
    """Returns the clips that a split is evaluated on.

    Windows of `clip_length * stride` frames become `stride` interleaved clips each, see
    `data.windows.eval_windows`.

    Args:
      directory: folder of the dataset, or of its versions.
      image_size: side of the crops, pixels.
      subset: use only tracks of this part of the split.
      batch_size: clips per batch.
      margin: side of the crops, as a multiple of the boxes' longer side.
      limit: use only this many windows, spread evenly over the split; 0: all.

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
