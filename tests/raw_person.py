"""A known person and known cameras, from which fixtures of datasets with joints are made."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

# Metres; x to the person's left, y up, z forward. The left hand is raised and the right foot is out
# to the side, so that mirroring or confusing joints is noticed.
BODY = {
    "hip": (0, 0, 0), "rhip": (-0.13, -0.01, 0), "lhip": (0.13, 0.01, 0),
    "rknee": (-0.28, -0.43, 0.05), "lknee": (0.14, -0.45, 0.02),
    "rankle": (-0.45, -0.84, 0), "lankle": (0.12, -0.88, -0.02),
    "rfoot": (-0.5, -0.9, 0.12), "lfoot": (0.13, -0.95, 0.1),
    "rtoe": (-0.52, -0.91, 0.17), "ltoe": (0.14, -0.96, 0.16),
    "belly": (0, 0.12, 0.03), "spine": (0, 0.23, 0.02), "chest": (0.01, 0.36, 0.03),
    "upper chest": (0.01, 0.42, 0.02),
    "neck": (0, 0.5, 0), "jaw": (0.01, 0.56, 0.09), "head": (0.02, 0.68, 0.02),
    "headtop": (0.03, 0.72, 0.01), "nose": (0.01, 0.6, 0.12),
    "leye": (0.04, 0.63, 0.1), "reye": (-0.03, 0.63, 0.1),
    "lear": (0.09, 0.61, 0.02), "rear": (-0.08, 0.61, 0.02),
    "rclavicle": (-0.05, 0.47, 0.02), "lclavicle": (0.05, 0.47, 0.02),
    "rshoulder": (-0.18, 0.46, 0), "lshoulder": (0.18, 0.48, 0),
    "relbow": (-0.3, 0.2, -0.02), "lelbow": (0.4, 0.62, 0.03),
    "rwrist": (-0.33, -0.05, 0.08), "lwrist": (0.46, 0.88, 0.1),
    "rhand": (-0.33, -0.14, 0.1), "lhand": (0.47, 0.97, 0.12),
}  # fmt: skip
# The points' names among the 49 keypoints.
AS_KEYPOINTS = {name: name for name in BODY} | {
    "spine": "Spine (H36M)", "jaw": "Jaw (H36M)", "head": "Head (H36M)",
}  # fmt: skip


def person(names, frames: int, *, heading: float = 0.0) -> np.ndarray:
    """Returns the points `names` `[frames n 3]` of a person walking forward, metres, world (y up).

    The heading, in radians, is 0 along z and increases towards the person's left.
    """
    turn = Rotation.from_euler("y", heading)
    points = turn.apply(np.array([BODY[name] for name in names]))
    steps = turn.apply(np.outer(np.arange(frames), (0.01, 0, 0.05)))
    return points[None] + steps[:, None] + (0, 1, 0)


def camera_at(position, target=(0.0, 1.0, 0.0), roll: float = 0.0):
    """Returns rotation `[3 3]` and shift `[3]` from the world to the frame (x right, y down, z
    forward) of a camera at `position` that looks at `target`; `roll` is in radians."""
    forward = np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0, 1, 0))
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])
    turn = Rotation.from_euler("z", roll).as_matrix() @ turn
    return turn, -turn @ np.asarray(position)


def draw_image(width: int, height: int, points=(), shade: int = 0) -> np.ndarray:
    """Draws a white dot at each of the points (pixels): uint8 RGB."""
    image = np.full((height, width, 3), (40 + shade, 70, 100), np.uint8)
    for x, y in np.rint(points).astype(int):
        cv2.circle(image, (int(x), int(y)), 1, (255, 255, 255), -1)
    return image


def write_image(path, image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])
