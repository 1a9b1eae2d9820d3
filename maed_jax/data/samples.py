"""Makes training samples from records: a clip, or an image as a clip of one frame.

A sample is a dict of arrays; batched, with b as the first axis, they are the training labels:
  image         uint8 [t h w 3]  RGB crop
  keypoints_2d  float32 [t 49 3] x, y in [-1, 1] of the crop; confidence
  keypoints_3d  float32 [t 49 4] metres, camera frame; validity
  pose          float32 [t 72]   axis-angle, radians
  shape         float32 [t 10]
  has_smpl      float32 [t]      1: pose and shape are labels
  has_3d        float32          1: keypoints_3d are labels (in any frame; others have no validity)
  replaced      int32            how many unreadable samples this one replaces
"""

from __future__ import annotations

import bisect
import dataclasses
import logging

import numpy as np

from maed_jax.body.skeleton import LEFT_HIP, RIGHT_HIP
from maed_jax.data import augment, images, windows
from maed_jax.data.augment import Augment, Changes
from maed_jax.data.records import Records
from maed_jax.errors import UserError

# The fields that a sample takes from a record.
FIELDS = tuple(
    "image keypoints_2d keypoints_3d pose shape has_smpl has_3d box body track frame".split()
)
# 3D labels are centred on the hips: a frame without them, at (0, 0, 0), has no 3D labels.
HIPS = (RIGHT_HIP, LEFT_HIP)
ATTEMPTS = 10  # unreadable samples in a row that stop training


def load(
    records: Records, indices: np.ndarray, size: int, changes: Changes, body: str | None = None
) -> dict[str, np.ndarray]:
    """Reads the records `indices` `[t]` as one sample with `changes`.

    Args:
      size: side of the crops, pixels.
      body: if given, pose and shape of records with another body are not labels.

    Raises:
      ImageError: the image of a frame cannot be read.
    """
    frames = [records.read(index, FIELDS) for index in indices]
    affines = affines_of(frames, size, changes)
    affines = np.stack([images.to_whole_pixels(affine, size) for affine in affines])
    clip = np.empty((len(frames), size, size, 3), np.uint8)
    for frame, index, affine, crop in zip(frames, indices, affines, clip):
        try:
            images.decode_crop(frame["image"], affine, size, crop)
        except images.ImageError as error:
            raise images.ImageError(f"{name_of(records, index, frame)}: {error}") from None
    clip = augment.erase(augment.recolour(clip, changes), changes)
    sample = {"image": clip, **labels(frames, affines, size, changes, body)}
    return sample | {"has_3d": sample["has_3d"].max()}


def name_of(records: Records, index: int, frame: dict) -> str:
    """Returns what to call a record in messages."""
    return f"{records.directory} {records.split} {index}, {frame['track']} frame {frame['frame']}"


def affines_of(frames: list[dict], size: int, changes: Changes) -> np.ndarray:
    """Returns the affine maps `[t 2 3]` from the records' images to their crops."""
    return np.stack([augment.affine(changes, frame["box"], size) for frame in frames])


def labels(
    frames: list[dict], affines: np.ndarray, size: int, changes: Changes, body: str | None = None
) -> dict[str, np.ndarray]:
    """Returns the records' labels, changed like their images; all have an axis t, has_3d too."""

    def stacked(name):
        return np.stack([frame[name] for frame in frames])

    has_smpl = stacked("has_smpl") & [body in (None, frame["body"]) for frame in frames]
    pose, shape = stacked("pose"), stacked("shape")
    has_smpl &= np.isfinite(pose).all(-1) & np.isfinite(shape).all(-1)
    pose, shape = (np.where(has_smpl[:, None], value, 0) for value in (pose, shape))

    points = augment.keypoints_2d(_without_gaps(stacked("keypoints_2d")), changes, affines)
    points = augment.hide_erased(points, changes, size) if changes.hide_keypoints else points
    points_3d = _without_gaps(stacked("keypoints_3d"))
    has_3d = stacked("has_3d") & points_3d[:, HIPS, :3].any(-1).all(-1)
    points_3d[..., 3] *= has_3d[:, None]
    return {
        "keypoints_2d": images.normalise_keypoints(points, size).astype(np.float32),
        "keypoints_3d": augment.keypoints_3d(points_3d, changes).astype(np.float32),
        "pose": augment.pose(pose, changes).astype(np.float32),
        "shape": shape.astype(np.float32),
        "has_smpl": has_smpl.astype(np.float32),
        "has_3d": has_3d.astype(np.float32),
    }


def _without_gaps(points: np.ndarray) -> np.ndarray:
    """Sets keypoints `[... c]` that are not finite to zero, confidence included."""
    return np.where(np.isfinite(points).all(-1, keepdims=True), points, 0)


class Clips:
    """The windows of a split: element i is a window's record indices `[clip_length * interval]`."""

    def __init__(
        self, records: Records, clip_length: int, interval: int, stride: int | None = None
    ):
        """
        Args:
          stride: frames between the starts of windows; default: half a window.
        """
        self.records, self.clip_length = records, clip_length
        self._window = clip_length * interval
        stride = stride or max(self._window // 2, 1)
        lengths = [track.length for track in records.tracks]
        self._starts = [windows.window_starts(n, self._window, stride) for n in lengths]
        self._ends = np.cumsum([len(starts) for starts in self._starts]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> np.ndarray:
        number = bisect.bisect_right(self._ends, index)
        track = self.records.tracks[number]
        start = self._starts[number][index - self._ends[number]]  # negative: counts from the end
        return track.start + windows.reflect(start + np.arange(self._window), track.length)


class Images:
    """The frames of a split, or every n-th of them: element i is one record index, `[1]`."""

    clip_length = 1

    def __init__(self, records: Records, every: int):
        self.records, self._every = records, every

    def __len__(self) -> int:
        return -(-len(self.records) // self._every)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array([index * self._every])


@dataclasses.dataclass(frozen=True)
class Loader:
    """Maps a window's index to a sample, with random start within the interval and random changes.

    A sample with an unreadable image is replaced by a random other one, with a warning.
    """

    source: Clips | Images
    size: int
    augment: Augment
    body: str | None = None

    def __call__(self, number: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        length = self.source.clip_length
        for attempt in range(ATTEMPTS):
            window = self.source[number]
            start = int(rng.integers(len(window) // length))
            changes = augment.draw(rng, self.augment, length)
            clip = windows.sample_clip(window, length, start)
            try:
                sample = load(self.source.records, clip, self.size, changes, self.body)
                return sample | {"replaced": np.int32(attempt)}
            except images.ImageError as error:
                logging.getLogger(__name__).warning("replaced by another sample: %s", error)
                number = int(rng.integers(len(self.source)))
        raise UserError(
            f"{ATTEMPTS} samples in a row of {self.source.records.directory} have images that "
            "cannot be read: rebuild the dataset"
        )
