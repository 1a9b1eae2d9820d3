"""Computes the 49 keypoints of 3DPW's actors, which its files lack, by posing SMPL."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import numpy as np

from maed_jax.body.files import load_body
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.smpl import Body, keypoint_body, keypoints, pose_body

from .sequence import Actor

_BATCH = 256  # frames posed at once; one size, so that JAX compiles once


def check_body(source: str) -> None:
    """Checks that `source` gives keypoints of men and women.

    Raises:
      UserError: it is not a body, or lacks a gender's body or J_regressor_extra.npy.
    """
    for gender in ("male", "female"):
        _body(source, gender)


def keypoints_in_camera(source: str, actor: Actor, world_to_camera: np.ndarray) -> np.ndarray:
    """Computes an actor's 49 keypoints `[t 49 3]`, metres, camera frame.

    Args:
      source: a folder with the bodies of both genders, or the file of one body for everyone.
      world_to_camera: `[t 4 4]`.
    """
    body = _body(source, actor.gender)
    frames = len(actor.pose)
    padded = np.pad(actor.pose, ((0, -frames % _BATCH), (0, 0)))
    parts = [_keypoints(body, padded[i : i + _BATCH], actor.betas)
             for i in range(0, len(padded), _BATCH)]  # fmt: skip
    world = np.concatenate(parts)[:frames] + actor.translation[:, None].astype(np.float64)
    rotation, shift = world_to_camera[:, :3, :3], world_to_camera[:, :3, 3]
    return world @ rotation.swapaxes(1, 2) + shift[:, None]


@jax.jit
def _keypoints(body: Body, pose: jax.Array, betas: jax.Array) -> jax.Array:
    R_parent_joint = matrix_from_axis_angle(pose.reshape(len(pose), -1, 3))
    return keypoints(body, pose_body(body, R_parent_joint, betas))


@functools.cache
def _body(source: str, gender: str) -> Body:
    is_folder = Path(source).expanduser().is_dir()
    return keypoint_body(load_body(source, gender) if is_folder else load_body(source))
