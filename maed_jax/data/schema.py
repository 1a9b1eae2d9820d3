"""The record that every dataset is converted to: one person in one frame.

Builders (`datasets/`) write these records and the pipeline reads them. A track's frames are
consecutive on disk; a table of tracks next to each split says where each begins.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maed_jax.errors import UserError
from maed_jax.files.json import read_json

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

NUM_KEYPOINTS = 49

# name -> (shape, dtype); an empty shape is a scalar. Strings and JPEG bytes are listed separately
# because TFDS has special features for them.
ARRAYS: dict[str, tuple[tuple[int, ...], type]] = {
    "image_size": ((2,), np.int32),  # height and width of the stored image, pixels
    # x, y in pixels of the stored image; confidence in [0, 1]
    "keypoints_2d": ((NUM_KEYPOINTS, 3), np.float32),
    # metres, camera frame (x right, y down, z forward); validity, 0 or 1
    "keypoints_3d": ((NUM_KEYPOINTS, 4), np.float32),
    "pose": ((72,), np.float32),  # axis-angle, radians; root in the camera frame
    "shape": ((10,), np.float32),  # shape coefficients (betas) of the body named by `body`
    "has_smpl": ((), np.bool_),  # True: pose and shape are labels
    "has_3d": ((), np.bool_),  # True: keypoints_3d are labels
    "box": ((4,), np.float32),  # centre x, centre y, width, height of the person, pixels, no margin
    "intrinsics": ((4,), np.float32),  # fx, fy, cx, cy, pixels; zeros where unknown
    "frame": ((), np.int32),  # frame number within its video, from 0
    "frame_rate": ((), np.float32),  # frames per second of that numbering; 0 where unknown
    # False: the dataset's owner excludes the frame from evaluation (3DPW's campose_valid,
    # MPI-INF-3DHP's valid_frame)
    "valid": ((), np.bool_),
}
STRINGS = ("body", "gender", "source", "track")
IMAGE = "image"  # JPEG bytes


def features() -> tfds.features.FeaturesDict:
    """Returns the TFDS features of a record."""
    import tensorflow_datasets as tfds

    spec = {name: tfds.features.Tensor(shape=s, dtype=d) if s else tfds.features.Scalar(dtype=d)
            for name, (s, d) in ARRAYS.items()}  # fmt: skip
    spec |= {name: tfds.features.Text() for name in STRINGS}
    # Bytes, not features.Image, so that reading decodes no more than the pipeline needs.
    spec[IMAGE] = tfds.features.Scalar(dtype=np.object_)
    return tfds.features.FeaturesDict(spec)


@dataclasses.dataclass(frozen=True)
class Track:
    """A run of consecutive records that show one person."""

    name: str
    start: int
    """index of the first record in the split"""
    length: int
    """number of records"""
    subset: str = ""
    """part of the split that it belongs to, for example "occlusion"; empty if there are none"""


def tracks_path(directory: str | Path, split: str) -> Path:
    return Path(directory) / f"tracks-{split}.json"


def write_tracks(directory: str | Path, split: str, tracks: list[Track]) -> None:
    """Writes the table of tracks of `split` next to its records."""
    rows = [dataclasses.asdict(track) for track in tracks]
    tracks_path(directory, split).write_text(json.dumps(rows, indent=1))


def read_tracks(directory: str | Path, split: str) -> list[Track]:
    """Reads the table of tracks of `split`.

    Raises:
      UserError: it is missing or malformed.
    """
    path = tracks_path(directory, split)
    try:
        form = [{"name": str, "start": int, "length": int, "subset?": str}]
        return [Track(**row) for row in read_json(path, form)]
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: prepare the dataset first (maed data --help)"
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a table of tracks ({error}); rebuild the dataset") from None
