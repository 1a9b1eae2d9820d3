"""Reads a 3DPW file, sequenceFiles/<split>/<sequence>.pkl, into checked arrays."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.errors import UserError
from maed_jax.files.unpickle import restricted_load

from ..checked import rows

GENDERS = {"m": "male", "male": "male", "f": "female", "female": "female"}


@dataclasses.dataclass(frozen=True)
class Actor:
    """One of the one or two people in a sequence, t frames."""

    pose: np.ndarray
    """[t 72] axis-angle, radians, the root in the world frame"""
    betas: np.ndarray
    """[10] for the body of the actor's gender"""
    gender: str
    """"male" or "female\""""
    translation: np.ndarray
    """[t 3] metres, world"""
    points: np.ndarray
    """[t 18 3] OpenPose's keypoints: x, y in pixels, confidence; zeros where it found no one"""
    valid: np.ndarray
    """[t] bool, false where the owner marks the camera's pose as invalid"""


@dataclasses.dataclass(frozen=True)
class Sequence:
    name: str
    world_to_camera: np.ndarray
    """[t 4 4] metres"""
    intrinsics: np.ndarray
    """[4] fx, fy, cx, cy, pixels"""
    actors: tuple[Actor, ...]


def read_sequence(path: Path) -> Sequence:
    """Reads a sequence's file, a pickle by Python 2; nothing in it is executed.

    Raises:
      UserError: it cannot be read safely, or a field is missing or has the wrong shape or length.
    """
    content = restricted_load(path, kind="3DPW sequence file")
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a 3DPW sequence: it contains a {type(content).__name__}")
    cameras = rows(_field(content, "cam_poses", path), (4, 4), path, "cam_poses")
    matrix = rows(_field(content, "cam_intrinsics", path), (3,), path, "cam_intrinsics")
    if len(matrix) != 3:
        raise UserError(f"{path}: cam_intrinsics is not a 3x3 matrix")
    poses = _field(content, "poses", path)
    if not isinstance(poses, list) or not poses:
        raise UserError(f"{path}: poses is not a list with an array for each actor")
    name = content.get("sequence", path.stem)
    if name != path.stem:
        raise UserError(f"{path}: its field sequence says {name!r}")
    return Sequence(
        name=path.stem,
        world_to_camera=cameras.astype(np.float64),
        intrinsics=matrix[[0, 1, 0, 1], [0, 1, 2, 2]].astype(np.float64),
        actors=tuple(
            _actor(content, number, len(poses), len(cameras), path) for number in range(len(poses))
        ),
    )


def _actor(content: dict, number: int, actors: int, frames: int, path: Path) -> Actor:
    def pick(field: str) -> tuple[Any, str]:
        values = _field(content, field, path)
        if not isinstance(values, list | tuple | np.ndarray) or len(values) != actors:
            raise UserError(f"{path}: {field} does not have one entry for each of {actors} actors")
        return values[number], f"{field}[{number}]"

    def per_frame(field: str, *inner: int) -> np.ndarray:
        value, label = pick(field)
        array = rows(value, inner, path, label)
        if len(array) != frames:
            raise UserError(f"{path}: {label} has {len(array)} frames, but cam_poses has {frames}")
        return array

    betas, label = pick("betas")
    betas = rows(betas, (), path, label)
    if len(betas) < 10:
        raise UserError(f"{path}: {label} has {len(betas)} coefficients, not 10 or more")
    gender = pick("genders" if "genders" in content else "gender")[0]
    if gender not in GENDERS:
        raise UserError(f"{path}: genders[{number}] is {gender!r}, neither 'm' nor 'f'")
    return Actor(
        pose=per_frame("poses", 72),
        betas=betas[:10],
        gender=GENDERS[gender],
        translation=per_frame("trans", 3),
        points=per_frame("poses2d", 3, 18).swapaxes(1, 2),
        valid=per_frame("campose_valid") > 0,
    )


def _field(content: dict, name: str, path: Path) -> Any:
    if name not in content:
        raise UserError(f"{path} lacks the field {name}: is it a 3DPW sequence?")
    return content[name]
