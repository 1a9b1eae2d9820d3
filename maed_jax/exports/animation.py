"""A reconstructed person in the terms of animation software: rest pose, skeleton, keyframes.

GLB, BVH and OBJ files are in metres with y up, as in glTF: the camera frame (x right, y down, z
forward) rotated by 180 degrees about x. The video's camera is at the origin and looks along -z.
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
    """[n] frame numbers in the video, ascending"""
    times: np.ndarray
    """[n] seconds since the video's first frame, strictly ascending"""
    rest_joints: np.ndarray
    """[joints 3] in the T-pose, with the body's origin at (0, 0, 0)"""
    rest_verts: np.ndarray
    """[verts 3] likewise"""
    rotations: np.ndarray
    """[n joints 4] unit quaternions (x, y, z, w) of each joint relative to its parent, the root
    relative to the world; signs are continuous from frame to frame"""
    positions: np.ndarray
    """[n 3] position of the root joint in the world"""

    @property
    def frame_time(self) -> float:
        """Mean time between frames of the video, seconds; 1/30 if there is only one frame."""
        if len(self.frames) == 1:
            return 1 / 30
        return float(self.times[-1] - self.times[0]) / int(self.frames[-1] - self.frames[0])

    def offsets(self, parents: tuple[int, ...]) -> np.ndarray:
        """Returns offsets [joints 3] of joints from their parents at rest; zero for the root."""
        parent = np.array(parents)
        offsets = self.rest_joints - self.rest_joints[parent]
        return np.where((parent < 0)[:, None], 0.0, offsets)


def animate(person: Person, body: Body) -> Animation:
    """Returns the motion of a person who was reconstructed with `body`.

    Bones have constant lengths, so the shape is the mean over the track (by default, `maed predict`
    has averaged it already). Pose-dependent blend shapes are left out.
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
    """Converts rotations [n joints 3 3] to quaternions [n joints 4] (x, y, z, w) whose signs do not
    jump, so that programs that interpolate between frames take the short way."""
    n, joints = rotmat.shape[:2]
    quaternions = Rotation.from_matrix(rotmat.reshape(-1, 3, 3)).as_quat().reshape(n, joints, 4)
    sign_changes = (quaternions[1:] * quaternions[:-1]).sum(axis=-1) < 0
    flipped = np.cumsum(sign_changes, axis=0) % 2 == 1
    quaternions[1:][flipped] *= -1
    return quaternions


def ascending(times: np.ndarray) -> np.ndarray:
    """Makes times [n] strictly ascending, even in float32; files may repeat a time."""
    times = np.asarray(times, np.float32).copy()
    for i in np.flatnonzero(np.diff(times) <= 0) + 1:
        while i < len(times) and times[i] <= times[i - 1]:
            times[i] = np.nextafter(times[i - 1], np.float32(np.inf))
            i += 1
    return times.astype(np.float64)
