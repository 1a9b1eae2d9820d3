"""A reconstructed person as animation software thinks of them: a rest pose, a skeleton, keys.

Exported files are in metres with y up, as glTF wants it: the camera frame (x right, y down, z
forward) turned by 180 degrees about x. The video's camera stands at the origin and looks along -z.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body.smpl import Body
from maed_jax.inference.results import Person

UP_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])


@dataclasses.dataclass(frozen=True)
class Animation:
    """One person's motion. Metres, y up; float64."""

    id: int
    frames: np.ndarray
    """[n] numbers in the video, ascending"""
    times: np.ndarray
    """[n] seconds since the video's first frame, strictly ascending"""
    rest_joints: np.ndarray
    """[joints 3] in the T-pose, the body's origin at the origin"""
    rest_verts: np.ndarray
    """[verts 3] likewise"""
    rotations: np.ndarray
    """[n joints 4] unit quaternions (x, y, z, w) of each joint relative to its parent, the root
    relative to the world; from one frame to the next never on opposite sides of the sphere"""
    positions: np.ndarray
    """[n 3] of the root joint in the world"""

    @property
    def frame_time(self) -> float:
        """Seconds from one frame of the video to the next, on average; 1/30 of a single frame."""
        if len(self.frames) == 1:
            return 1 / 30
        return float(self.times[-1] - self.times[0]) / int(self.frames[-1] - self.frames[0])

    def offsets(self, parents: tuple[int, ...]) -> np.ndarray:
        """[joints 3] from each joint's parent to the joint at rest; zeros for the root."""
        above = np.array(parents)
        offsets = self.rest_joints - self.rest_joints[above]
        return np.where((above < 0)[:, None], 0.0, offsets)


def animate(person: Person, body: Body) -> Animation:
    """The motion of a person who was reconstructed with `body`.

    Bones keep their length, so the shape is the mean over the track (`maed predict` averages it
    already unless told not to). Corrections of the skin that depend on the pose are left out.
    """
    betas = np.asarray(person.shape, np.float64).mean(axis=0)
    template, shape_dirs = np.asarray(body.template), np.asarray(body.shape_dirs)
    rest_joints = np.asarray(body.rest_joints) + np.asarray(body.rest_joint_dirs) @ betas
    root = person.translation + rest_joints[0]
    rotmat = np.array(person.rotmat, np.float64)
    rotmat[:, 0] = UP_FROM_CAMERA @ rotmat[:, 0]
    return Animation(
        id=person.id,
        frames=person.frames,
        times=ascending(person.times),
        rest_joints=rest_joints,
        rest_verts=template + shape_dirs @ betas,
        rotations=continuous_quaternions(rotmat),
        positions=root @ UP_FROM_CAMERA.T,
    )


def continuous_quaternions(rotmat: np.ndarray) -> np.ndarray:
    """Rotations [n joints 3 3] to quaternions [n joints 4] (x, y, z, w) that do not jump in sign:
    a program that blends two neighbours always takes the short way."""
    n, joints = rotmat.shape[:2]
    quaternions = Rotation.from_matrix(rotmat.reshape(-1, 3, 3)).as_quat().reshape(n, joints, 4)
    turned = (quaternions[1:] * quaternions[:-1]).sum(axis=-1) < 0
    flipped = np.cumsum(turned, axis=0) % 2 == 1
    quaternions[1:][flipped] *= -1
    return quaternions


def ascending(times: np.ndarray) -> np.ndarray:
    """Times [n] that ascend strictly even in float32; a file may show two frames at one time."""
    times = np.asarray(times, np.float32).copy()
    for i in np.flatnonzero(np.diff(times) <= 0) + 1:
        while i < len(times) and times[i] <= times[i - 1]:
            times[i] = np.nextafter(times[i - 1], np.float32(np.inf))
            i += 1
    return times.astype(np.float64)
