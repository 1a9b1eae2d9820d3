"""Shared by tests of exports and of smoothing: a mannequin that moves in front of a camera, as a
prediction describes it."""

import functools

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body, keypoints, pose_body
from maed_jax.inference.results import Person

MOST = 144  # frames: one size, so one compilation


@functools.cache
def _small_body():
    return keypoint_body(mannequin())


@jax.jit
def _points(body, rotmat, shape):
    posed = pose_body(body, rotmat, shape)
    return posed.joints, keypoints(body, posed)


def points_of(rotmat, shape):
    """Joints [n 24 3] and keypoints [n 49 3] relative to the body's origin."""
    rows = np.minimum(np.arange(MOST), len(rotmat) - 1)
    return (np.asarray(a)[: len(rotmat)] for a in _points(_small_body(), rotmat[rows], shape[rows]))


def moving_person(id=1, n=20, fps=25.0, first=0, seed=0) -> Person:
    """Somebody upright who turns around, waves and walks away; one shape for all frames."""
    rng = np.random.default_rng([seed, id])
    time = np.arange(n) / fps
    swing = np.sin(2 * np.pi * (time[:, None, None] * rng.uniform(0.4, 1.2, (24, 1)) + 0.1 * id))
    vectors = (swing * rng.normal(0, 0.4, (24, 3))).reshape(n, 24, 3)
    turn = Rotation.from_rotvec(np.stack([0 * time, 4 * time, 0 * time], -1))
    root = Rotation.from_rotvec([np.pi, 0, 0]) * turn  # beyond half a turn: signs would jump
    rotmat = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(n, 24, 3, 3)
    rotmat[:, 0] = root.as_matrix()
    pose = Rotation.from_matrix(rotmat.reshape(-1, 3, 3)).as_rotvec().reshape(n, 72)
    shape = np.tile(rng.normal(0, 1, 10), (n, 1)).astype(np.float32)
    rotmat = rotmat.astype(np.float32)
    translation = np.stack([0.3 * time - 0.2, 0.1 + 0 * time, 4 + time], -1).astype(np.float32)
    joints, points = points_of(rotmat, shape)
    intrinsics = np.array([800, 800, 320, 240], np.float32)
    there = points + translation[:, None]
    depth = translation[:, 2]
    middle = translation[:, :2] / depth[:, None] * 800 + [320, 240]
    side = 2.4 * 800 / depth
    camera = np.stack([2 * 800 / (side * depth), 0 * depth, 0 * depth], -1)
    return Person(
        id=id,
        frames=np.arange(first, first + n),
        times=(first + np.arange(n)) / fps,
        boxes=np.concatenate([middle, side[:, None] / 2, side[:, None]], 1).astype(np.float32),
        crops=np.concatenate([middle, side[:, None]], 1).astype(np.float32),
        detected=np.ones(n, bool),
        confidence=np.ones(n, np.float32),
        pose=pose.astype(np.float32),
        rotmat=rotmat,
        shape=shape,
        camera=camera.astype(np.float32),
        translation=translation,
        keypoints_3d=points,
        keypoints_2d=(there[..., :2] / there[..., 2:] * 800 + [320, 240]).astype(np.float32),
        intrinsics=intrinsics,
        joints_3d=joints,
    )


def camera_joints(person: Person) -> np.ndarray:
    """[n 24 3] metres, in the frame of the full image's camera."""
    joints, _ = points_of(person.rotmat, person.shape)
    return joints + person.translation[:, None]
