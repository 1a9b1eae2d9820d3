"""What tests of builders share: reading back what was built, by track and by keypoint."""

import cv2
import numpy as np

from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.data import schema
from maed_jax.data.records import Records


def tracks(directory, split):
    """Name of a track -> its records."""
    records = Records(directory, split)
    return {
        track.name: [records[i] for i in range(track.start, track.start + track.length)]
        for track in schema.read_tracks(directory, split)
    }


def stacked(rows, name):
    return np.stack([row[name] for row in rows])


def keypoint(rows, name, points="keypoints_2d"):
    """One keypoint of all records, by its name: [t 3], or [t 4] of keypoints_3d."""
    return stacked(rows, points)[:, KEYPOINT_NAMES.index(name)]


def labelled(rows, points="keypoints_2d"):
    """The names of the keypoints that have a label in the first record."""
    return {name for name, row in zip(KEYPOINT_NAMES, rows[0][points]) if row[-1] > 0}


def projected(row):
    """A record's 3D keypoints, where its intrinsics put them: [49 2], NaN for those it lacks."""
    fx, fy, cx, cy = row["intrinsics"]
    x, y, z, known = row["keypoints_3d"].T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = np.stack([fx * x / z + cx, fy * y / z + cy], -1)
    return np.where(known[:, None] > 0, pixels, np.nan)


def image(row):
    """RGB uint8 [h w 3]."""
    return cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
