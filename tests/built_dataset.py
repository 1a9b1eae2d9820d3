"""Shared by tests of builders: reads back what was built, by track and by keypoint."""

import cv2
import numpy as np

from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.data import schema
from maed_jax.data.records import Records


def tracks(directory, split):
    """Returns track name -> its records."""
    records = Records(directory, split)
    return {
        track.name: [records[i] for i in range(track.start, track.start + track.length)]
        for track in schema.read_tracks(directory, split)
    }


def stacked(rows, name):
    return np.stack([row[name] for row in rows])


def keypoint(rows, name, points="keypoints_2d"):
    """Returns one keypoint, by name, of all records: [t 3], or [t 4] for keypoints_3d."""
    return stacked(rows, points)[:, KEYPOINT_NAMES.index(name)]


def labelled(rows, points="keypoints_2d"):
    """Returns the names of the keypoints that are labelled in the first record."""
    return {name for name, row in zip(KEYPOINT_NAMES, rows[0][points]) if row[-1] > 0}


def projected(row):
    """Projects a record's 3D keypoints with its intrinsics: [49 2], NaN for absent ones."""
    fx, fy, cx, cy = row["intrinsics"]
    x, y, z, known = row["keypoints_3d"].T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = np.stack([fx * x / z + cx, fy * y / z + cy], -1)
    return np.where(known[:, None] > 0, pixels, np.nan)


def image(row):
    """RGB uint8 [h w 3]."""
    return cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
