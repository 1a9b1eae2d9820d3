"""The labels of a whole track, read without decoding images."""

from __future__ import annotations

import dataclasses

import numpy as np

from maed_jax.data import schema
from maed_jax.data.records import Records

LIMBS = slice(25, 37)
"""the limb joints among the 49 keypoints: ankles, knees, hips, wrists, elbows, shoulders"""
_FIELDS = ("frame", "valid", "has_smpl", "has_3d", "pose", "shape", "keypoints_2d", "keypoints_3d",
           "frame_rate", "gender", "body")  # fmt: skip
VISIBLE_ABOVE = 0.3
"""confidence above which a keypoint counts as visible (source: VIBE and MAED on 3DPW)"""


@dataclasses.dataclass(frozen=True)
class TrackLabels:
    """The labels of a track, frame by frame."""

    frame: np.ndarray
    """[t] int64, frame number in the video"""
    valid: np.ndarray
    """[t] bool, false where the dataset's owner excludes the frame from evaluation"""
    visible_limbs: np.ndarray
    """[t] int, how many of the 12 limb joints are visible in 2D"""
    inside: np.ndarray
    """[t] bool: every joint with a 3D label is in the image, judging by its 2D confidence"""
    has_smpl: np.ndarray
    """[t] bool: pose and shape are labels"""
    pose: np.ndarray
    """[t 72] float32, axis-angle in radians, root in the camera frame; zeros without labels"""
    shape: np.ndarray
    """[t 10] float32"""
    keypoints_3d: np.ndarray
    """[t 49 4] float32, metres in the camera frame, validity"""
    frame_rate: float
    """frames per second of the numbering in `frame`; 0: unknown"""
    gender: str
    body: str

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, frames: np.ndarray) -> TrackLabels:
        """Returns only the frames at these indices, which are in ascending order."""
        if len(frames) == len(self):
            return self
        arrays = {name: value for name, value in vars(self).items() if np.ndim(value)}
        return dataclasses.replace(self, **{name: a[frames] for name, a in arrays.items()})

    @property
    def step(self) -> int:
        """Median difference between consecutive frame numbers."""
        steps = np.diff(self.frame)
        return max(int(np.median(steps)), 1) if len(steps) else 1

    @property
    def rate(self) -> float:
        """Frames per second of these frames; 0: unknown."""
        return self.frame_rate / self.step


def read_labels(records: Records, track: schema.Track) -> TrackLabels:
    """Reads a track's labels, without those that are not finite."""
    numbers = range(track.start, track.start + track.length)
    rows = [records.read(i, _FIELDS) for i in numbers]  # without the images, which are large

    def stacked(name: str) -> np.ndarray:
        return np.stack([row[name] for row in rows])

    pose, shape = stacked("pose"), stacked("shape")
    has_smpl = stacked("has_smpl") & np.isfinite(pose).all(-1) & np.isfinite(shape).all(-1)
    points = stacked("keypoints_3d") * stacked("has_3d")[:, None, None]
    points = np.where(np.isfinite(points).all(-1, keepdims=True), points, 0)
    confidence = stacked("keypoints_2d")[..., 2]
    return TrackLabels(
        frame=stacked("frame").astype(np.int64),
        valid=stacked("valid"),
        visible_limbs=(confidence[:, LIMBS] > VISIBLE_ABOVE).sum(-1),
        inside=((confidence > 0) | (points[..., 3] == 0)).all(-1),
        has_smpl=has_smpl,
        pose=np.where(has_smpl[:, None], pose, 0),
        shape=np.where(has_smpl[:, None], shape, 0),
        keypoints_3d=points,
        frame_rate=float(rows[0]["frame_rate"]),
        gender=rows[0]["gender"],
        body=rows[0]["body"],
    )
