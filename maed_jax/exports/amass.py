"""A person as an AMASS file: SMPL's parameters over time, as in the AMASS motion archive.

Viewers, retargeting to characters and robots, and motion models read such files. The layout is that
of AMASS's SMPL+H files, plus `root_orient` and `pose_body` from its newer ones. Metres, z up: a
point (x, y, z) in front of the video's camera is at (x, z, -y). SMPL's two hand joints, which
SMPL+H replaces by fingers, are left out, and the fingers are at rest.

Each row is a frame of the person's track, as in a BVH file; gaps in the track have no rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body.smpl import Body
from maed_jax.exports.animation import animate
from maed_jax.inference.results import Person

Z_UP_FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
NUM_BETAS = 16  # of AMASS; SMPL's ten come first
_JOINTS, _FINGERS = 22, 30  # the root and 21 joints that SMPL and SMPL+H share; then fingers


def write_amass(path: str | Path, person: Person, body: Body) -> None:
    """Writes a person who was reconstructed with `body`.

    `betas` are zero for the mannequin, whose coefficients are not SMPL's.

    Raises:
      OSError: the file cannot be written.
    """
    animation = animate(person, body)
    n = len(person)
    root, *others = map(Rotation.from_quat, np.moveaxis(animation.rotations[:, :_JOINTS], 1, 0))
    root = Rotation.from_matrix(Z_UP_FROM_Y_UP) * root
    poses = np.stack([joint.as_rotvec() for joint in (root, *others)], axis=1)
    betas = np.zeros(NUM_BETAS)
    if body.name == "smpl":
        betas[: person.shape.shape[1]] = person.shape.mean(axis=0)
    rate = round(1 / animation.frame_time, 3)  # programs that truncate 29.99999 would read 29
    np.savez(
        path,
        poses=np.concatenate([poses.reshape(n, -1), np.zeros((n, 3 * _FINGERS))], axis=1),
        root_orient=poses[:, 0],
        pose_body=poses[:, 1:].reshape(n, -1),
        # SMPL turns a body about its pelvis, which lies beside the body's origin, then moves it.
        trans=animation.positions @ Z_UP_FROM_Y_UP.T - animation.rest_joints[0],
        betas=betas,
        gender="neutral",
        mocap_framerate=rate,
        mocap_frame_rate=rate,  # both names are in use
    )
