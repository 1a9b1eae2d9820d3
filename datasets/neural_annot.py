"""Reads the SMPL labels of NeuralAnnot (Moon et al., CVPRW 2022) and their cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.errors import UserError

from .checked import numbers, read_json

Keys = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuralAnnot:
    """Fits, which the files index by nested keys."""

    row: dict[Keys, int]
    """the keys as in the file -> row

    (annotation,) for COCO and MPII; (action, subaction, frame) for Human3.6M and
    (subject, sequence, frame) for MPI-INF-3DHP; an older form of Human3.6M's file has the camera
    as a fourth key.
    """
    pose: np.ndarray
    """[n 72] float32, axis-angle, radians"""
    shape: np.ndarray
    """[n 10] float32, betas of the neutral SMPL body"""
    in_world: bool
    """true (three keys): the root is in the world frame, to be converted by `root_in_camera`;
    otherwise it is in the frame of the image's camera"""


def read_neural_annot(path: str | Path) -> NeuralAnnot:
    """Reads a file such as Human36M_subject1_SMPL_NeuralAnnot.json.

    Raises:
      UserError: the file is missing or has another structure, or a field is wrong.
    """
    row, poses, shapes = {}, [], []
    for keys, item in _leaves(read_json(path), "pose"):
        where = f"{path}, {' '.join(keys)}"
        row[keys] = len(poses)
        poses.append(numbers(item["pose"], (72,), where, "pose", any_layout=True))
        shapes.append(numbers(item.get("shape"), (10,), where, "shape", any_layout=True))
    depths = {len(keys) for keys in row}
    if len(depths) != 1 or not depths <= {1, 3, 4}:
        raise UserError(f"{path} is not a NeuralAnnot file: it has no pose below 1, 3 or 4 keys")
    return NeuralAnnot(
        row=row,
        pose=np.stack(poses).astype(np.float32),
        shape=np.stack(shapes).astype(np.float32),
        in_world=depths == {3},
    )


def read_neural_cameras(path: str | Path) -> dict[Keys, np.ndarray]:
    """Reads the cameras that come with the fits, such as Human36M_subject1_camera.json.

    Returns:
      The keys as in the file -> R_camera_world `[3 3]`: (camera,) for Human3.6M, counted from "1";
      (subject, sequence, camera) for MPI-INF-3DHP.

    Raises:
      UserError: the file is missing or has another structure, or a field is wrong.
    """
    cameras = {
        keys: numbers(item["R"], (3, 3), f"{path}, camera {' '.join(keys)}", "R")
        for keys, item in _leaves(read_json(path), "R")
    }
    if not cameras:
        raise UserError(f"{path} contains no camera (nothing with R)")
    return cameras


def _leaves(tree: Any, field: str, keys: Keys = ()) -> Iterator[tuple[Keys, dict]]:
    """Yields nested keys, four at most, and the dicts below them that have `field`."""
    for key, item in tree.items() if isinstance(tree, dict) and len(keys) < 4 else ():
        if isinstance(item, dict):
            item = item.get("smpl_param", item)  # COCO and MPII have another level
        if isinstance(item, dict) and field in item:
            yield (*keys, key), item
        else:
            yield from _leaves(item, field, (*keys, key))
