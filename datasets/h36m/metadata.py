"""Reads Human3.6M's metadata.xml: cameras, and the actions that names of recordings stand for."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError, reason

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
_SUBJECTS = 11


@dataclasses.dataclass(frozen=True)
class Camera:
    """x_camera = R_camera_world (x_world - position)."""

    R_camera_world: np.ndarray
    """[3 3]"""
    position: np.ndarray
    """[3] metres, world"""
    intrinsics: np.ndarray
    """[4] fx, fy, cx, cy, pixels"""
    distortion: np.ndarray
    """[5] k1, k2, p1, p2, k3, in OpenCV's order"""

    def from_world(self, points: np.ndarray) -> np.ndarray:
        """Transforms points `[... 3]` from the world to the camera frame, metres."""
        return (points - self.position) @ self.R_camera_world.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """Projects camera-frame points `[... 3]` to pixels `[... 2]`, with lens distortion."""
        fx, fy, cx, cy = self.intrinsics
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        flat = points.reshape(-1, 1, 3).astype(np.float64)
        pixels, _ = cv2.projectPoints(flat, np.zeros(3), np.zeros(3), matrix, self.distortion)
        return pixels.reshape(*points.shape[:-1], 2)


@dataclasses.dataclass(frozen=True)
class Metadata:
    cameras: dict[tuple[str, str], Camera]
    """subject ("S1") and camera ("54138969") -> camera"""
    actions: dict[tuple[str, str], tuple[str, str]]
    """subject and name of a recording ("TakingPhoto 1") -> numbers of action and subaction"""


def read_metadata(path: Path) -> Metadata:
    """Reads metadata.xml, which comes with the owner's code.

    Raises:
      UserError: the file cannot be read, or has another structure.
    """
    try:
        root = ElementTree.parse(path).getroot()
        return Metadata(_cameras(root), _actions(root))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except (ElementTree.ParseError, AttributeError, ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{path} is not Human3.6M's metadata.xml, or is damaged ({error})"
        ) from None


def _cameras(root: ElementTree.Element) -> dict[tuple[str, str], Camera]:
    values = np.array(root.find("w0").text.strip(" \n[]").split(), np.float64)
    if len(values) != 6 * _SUBJECTS * len(CAMERAS) + 9 * len(CAMERAS):
        raise ValueError(f"w0 has {len(values)} numbers")
    extrinsic = values[: -9 * len(CAMERAS)].reshape(len(CAMERAS), _SUBJECTS, 6)
    intrinsic = values[-9 * len(CAMERAS) :].reshape(len(CAMERAS), 9)
    ids = [item.text for item in root.find("dbcameras/index2id")]
    return {
        (f"S{subject + 1}", camera): Camera(
            # intrinsic rotations about x, y and z
            R_camera_world=Rotation.from_euler("XYZ", extrinsic[c, subject, :3]).as_matrix(),
            position=extrinsic[c, subject, 3:] / 1000,
            intrinsics=intrinsic[c, :4],
            distortion=intrinsic[c, [4, 5, 7, 8, 6]],  # k1 k2 k3 p1 p2 in the file
        )
        for c, camera in enumerate(ids)
        for subject in range(_SUBJECTS)
    }


def _actions(root: ElementTree.Element) -> dict[tuple[str, str], tuple[str, str]]:
    table = [[cell.text for cell in row] for row in root.find("mapping")]
    subjects = table[0][2:]
    found = {}
    for action, subaction, *names in table[1:]:
        if not str(action).isdecimal():
            break  # another table follows
        for subject, name in zip(subjects, names):
            found[subject, name] = (action, subaction)
    return found
