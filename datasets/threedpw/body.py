"""The 49 keypoints of 3DPW's actors, which its files do not have: from SMPL's body, posed."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import numpy as np

from maed_jax.body.files import load_body
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.smpl import Body, keypoint_body, keypoints, pose_body
from maed_jax.errors import UserError

from .sequence import Actor

_BATCH = 256  # frames at a time: one size, compiled once
# As the owner of SMPL calls the bodies of men and women, new and old.
_FILES = {
    "male": ("SMPL_MALE.npz", "SMPL_MALE.pkl", "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"),
    "female": ("SMPL_FEMALE.npz", "SMPL_FEMALE.pkl", "basicmodel_f_lbs_10_207_0_v1.1.0.pkl"),
}


def check_body(source: str) -> None:
    """Whether `source` can give keypoints.

    Raises:
      UserError: it is not a body, lacks J_regressor_extra.npy, or has one gender without the other.
    """
    for gender in _FILES:
        _body(source, gender)


def keypoints_in_camera(source: str, actor: Actor, world_to_camera: np.ndarray) -> np.ndarray:
    """The 49 keypoints `[t 49 3]`, metres, camera frame, of an actor.

    Args:
      source: the folder of a body, with the bodies of both genders where these are to be used; or
        the file of one body for all, as the original does with the neutral one.
      world_to_camera: [t 4 4].
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
    folder = Path(source)
    found = {
        key: next((folder / name for name in names if (folder / name).is_file()), None)
        for key, names in _FILES.items()
    }
    if any(found.values()) and not all(found.values()):
        lacking = next(key for key, file in found.items() if file is None)
        raise UserError(
            f"{folder} has a body for one gender only: it lacks {_FILES[lacking][0]}; name the "
            "file of the neutral body instead to use that for all, as the original does"
        )
    return keypoint_body(load_body(found[gender] or source))
