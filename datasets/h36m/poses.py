"""The labels of one recording of Human3.6M: one action, one camera."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maed_jax.data.boxes import box_from_keypoints
from maed_jax.errors import UserError

from ..cdf import read_variable
from ..checked import rows
from ..matlab import read_cells
from ..pinhole import fit_intrinsics
from .metadata import Metadata

JOINTS = 32
# The raw joints in the order of the joint set `h36m_regressor`, as in SPIN.
NAMED = (11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27)
MASK_BOX = 0.9  # side of a box over the longer side of the owner's rectangle, which is wide (SPIN)


@dataclasses.dataclass(frozen=True)
class Poses:
    """Labels of t frames."""

    pixels: np.ndarray
    """[t 32 2]"""
    points: np.ndarray
    """[t 32 3] metres, camera frame"""
    intrinsics: np.ndarray
    """[4] fx, fy, cx, cy, without lens distortion; zeros if unknown"""


def pose_file(subject: Path, kind: str, name: str) -> Path | None:
    """Returns the file of a subject's poses of a kind ("D3_Positions_mono"), or None."""
    folders = (subject / "MyPoseFeatures" / kind, subject / f"Poses_{kind}")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def recordings(subject: Path, cameras: Sequence[str]) -> list[tuple[str, str]]:
    """Returns action ("Directions 1") and camera of all poses in a subject's folder, sorted."""
    found = set()
    for kind in ("D3_Positions_mono", "D3_Positions"):
        for folder in (subject / "MyPoseFeatures" / kind, subject / f"Poses_{kind}"):
            for file in folder.glob("*.cdf"):
                action, _, camera = file.stem.partition(".")
                if not action.startswith("_ALL"):
                    found.update((action, each) for each in ([camera] if camera else cameras))
        if found:
            break
    return sorted(found)


def read_poses(subject: Path, action: str, camera: str, metadata: Metadata | None) -> Poses:
    """Reads a recording's 2D and 3D labels.

    3D comes from D3_Positions_mono, or from D3_Positions (world) and the camera; 2D comes from
    D2_Positions, or from 3D and the camera.

    Raises:
      UserError: a file is missing or wrong, or the files' lengths differ.
    """
    name = f"{action}.{camera}.cdf"
    calibration = metadata.cameras.get((subject.name, camera)) if metadata else None
    if file := pose_file(subject, "D3_Positions_mono", name):
        points = read_cdf(file, 3) / 1000
    else:
        file = pose_file(subject, "D3_Positions", f"{action}.cdf")
        if file is None or calibration is None:
            raise UserError(
                f"{subject} lacks D3_Positions_mono/{name}; D3_Positions with metadata.xml "
                "would also do"
            )
        points = calibration.from_world(read_cdf(file, 3) / 1000)
    if file_2d := pose_file(subject, "D2_Positions", name):
        pixels = read_cdf(file_2d, 2)
        if len(pixels) != len(points):
            raise UserError(f"{file_2d} has {len(pixels)} frames and {file} {len(points)}")
    elif calibration is not None:
        pixels = calibration.project(points)
    else:
        raise UserError(f"{subject} lacks D2_Positions/{name}; metadata.xml would also do")
    if calibration is not None:
        return Poses(pixels, points, calibration.intrinsics)
    return Poses(pixels, points, fit_intrinsics(points.reshape(-1, 3), pixels.reshape(-1, 2)))


def read_cdf(path: Path, size: int) -> np.ndarray:
    """Reads the variable Pose of a CDF file, float64 `[t 32 size]`, millimetres or pixels.

    Raises:
      UserError: it is not a CDF file, is damaged, or its Pose is something else.
    """
    try:
        values = read_variable(path, "Pose")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a CDF file with a Pose ({error})") from None
    if values.ndim == 3 and len(values) == 1:
        values = values[0]  # all frames are one record
    flat = rows(values, (JOINTS * size,), path, "Pose").astype(np.float64)
    return flat.reshape(-1, JOINTS, size)


def read_boxes(subject: Path, name: str, keypoints: np.ndarray, frames: Sequence[int]):
    """Returns square boxes `[t 4]`, of which only those of `frames` are to be used.

    They come from the owner's rectangles in MySegmentsMat/ground_truth_bb/<name>.mat, if any, or
    else have 1.1 times the extent of the keypoints `[t 49 3]`.
    """
    boxes = box_from_keypoints(keypoints)
    file = subject / "MySegmentsMat" / "ground_truth_bb" / f"{name}.mat"
    if file.is_file():
        for frame, mask in zip(frames, read_cells(file, "Masks", frames)):
            if isinstance(mask, np.ndarray) and mask.ndim == 2 and (mask == 1).any():
                boxes[frame] = _box_of_mask(mask == 1)
    return boxes


def _box_of_mask(mask: np.ndarray) -> np.ndarray:
    (y, x) = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    side = MASK_BOX * (max(x[-1] - x[0], y[-1] - y[0]) + 1)
    return np.array([(x[0] + x[-1]) / 2, (y[0] + y[-1]) / 2, side, side])
