"""SMPL labels for Human3.6M, whose owner provides none: MoSh's or NeuralAnnot's, by frame."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maed_jax.errors import UserError

from ..neural_annot import NeuralAnnot, read_neural_annot, read_neural_cameras
from ..smpl_labels import read_mosh, root_in_camera
from .metadata import CAMERAS, Metadata

_NEURAL_ANNOT = "Human36M_subject{}_SMPL_NeuralAnnot.json"
Fit = tuple[np.ndarray, np.ndarray]
"""pose [72], root in the camera frame, and shape [10]"""


def check_folder(kind: str, folder: str) -> None:
    """Checks that a folder contains fits of a kind, "mosh" or "neural_annot".

    Raises:
      UserError: it does not.
    """
    pattern = {"mosh": "S*/*_cam?_aligned.pkl", "neural_annot": _NEURAL_ANNOT.format("*")}[kind]
    if not any(Path(folder).expanduser().glob(pattern)):
        raise UserError(f"there is no {pattern} below {folder}, and so no SMPL labels")


def fits_of_mosh(
    folder: str, subject: str, action: str, camera: str, frames: int
) -> Callable[[int], Fit | None]:
    """Returns a function from frame (from 0) to its fit in S1/<action>_cam<0-3>_aligned.pkl, which
    has every fifth frame's. If there is no such file, no frame has a fit.

    Raises:
      UserError: the file is wrong, or has more rows than every fifth of `frames` frames.
    """
    file = Path(folder) / subject / f"{action}_cam{CAMERAS.index(camera)}_aligned.pkl"
    if not file.is_file():
        return lambda frame: None
    poses, shape = read_mosh(file)
    if len(poses) > frames / 5 + 5:
        raise UserError(f"{file} has {len(poses)} poses for every fifth of {frames} frames")

    def look_up(frame: int):
        row, between = divmod(frame, 5)
        return None if between or row >= len(poses) else (poses[row], shape)

    return look_up


def fits_of_neural_annot(
    folder: str, subject: str, action: str, camera: str, metadata: Metadata
) -> Callable[[int], Fit | None]:
    """Returns a function from frame (from 0) to its fit in Human36M_subject1_SMPL_NeuralAnnot.json.

    If its poses are in the world frame, Human36M_subject1_camera.json is needed too. If there is no
    file of the subject, no frame has a fit.

    Raises:
      UserError: a file is wrong, or metadata.xml does not have the recording.
    """
    if not (Path(folder) / _NEURAL_ANNOT.format(subject.removeprefix("S"))).is_file():
        return lambda frame: None
    if (subject, action) not in metadata.actions:
        raise UserError(f"metadata.xml does not say which action {action!r} of {subject} is")
    annot, R_camera_world = _subject(folder, subject.removeprefix("S"))
    number = str(CAMERAS.index(camera) + 1)
    if annot.in_world and number not in R_camera_world:
        raise UserError(f"{folder}/Human36M_subject{subject[1:]}_camera.json lacks camera {number}")

    def look_up(frame: int):
        keys = (*metadata.actions[subject, action], str(frame))
        row = annot.row.get(keys if annot.in_world else (*keys, number))
        if row is None:
            return None
        pose = annot.pose[row]
        if annot.in_world:
            pose = root_in_camera(pose, R_camera_world[number])
        return pose, annot.shape[row]

    return look_up


@functools.lru_cache(maxsize=1)  # a subject's file is large, and tasks come by subject
def _subject(folder: str, number: str) -> tuple[NeuralAnnot, dict[str, np.ndarray]]:
    """Returns a subject's fits, and its cameras' rotations if they are needed."""
    annot = read_neural_annot(Path(folder) / _NEURAL_ANNOT.format(number))
    if not annot.in_world:
        return annot, {}
    cameras = read_neural_cameras(Path(folder) / f"Human36M_subject{number}_camera.json")
    return annot, {keys[0]: R_camera_world for keys, R_camera_world in cameras.items()}
