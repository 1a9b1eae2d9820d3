"""Turns a model's outputs into a person: one shape per track, less jitter, matching joints.

A model estimates every frame on its own. A person's shape does not change from frame to frame, so
it is averaged over the track; jitter can be filtered out of rotations and camera with the One-Euro
filter (Casiez et al., CHI 2012), which is steady where the body is still and responsive where it
moves. The whole track is known, so the filter runs forwards and backwards and adds no lag.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body.camera import camera_from_crop_to_image, project
from maed_jax.body.smpl import Body, keypoints, pose_body
from maed_jax.chunks import in_chunks
from maed_jax.inference.reconstruct import to_pixels
from maed_jax.inference.results import Person, Reconstruction
from maed_jax.inference.track import stretches
from maed_jax.inference.unfinished import Allocate, in_memory

CHUNK = 128  # frames whose joints are computed at a time
# One-Euro filter: the cutoff at rest in Hz, and its increase per rad/s or unit/s of speed.
ROTATION_CUTOFF, ROTATION_GAIN = 1.5, 0.3
CAMERA_CUTOFF, CAMERA_GAIN = 0.5, 1.0
SPEED_CUTOFF = 1.0  # Hz, for the speed itself


def smooth_person(
    person: Reconstruction,
    body: Body,
    *,
    motion: bool = False,
    one_shape: bool = True,
    allocate: Allocate = in_memory,
) -> Person:
    """Returns the person with one shape, optionally without jitter, and matching joints.

    Replaced arrays are kept as `raw_rotmat`, `raw_camera` and `raw_shape`.

    Args:
      body: the body of the reconstruction; its `keypoint_body` suffices and is faster.
      motion: whether to filter rotations and camera.
      one_shape: whether every frame gets the mean shape of the track.
      allocate: creates the new arrays.
    """
    changes: dict[str, np.ndarray] = {}
    raw: dict[str, np.ndarray] = {}
    if one_shape:
        mean = np.asarray(person.shape, np.float64).mean(axis=0).astype(np.float32)
        changes["shape"], raw["raw_shape"] = np.tile(mean, (len(person), 1)), person.shape
    if motion:
        rotmat = allocate(f"person_{person.id}_smooth_rotmat", person.rotmat.shape)
        pose = allocate(f"person_{person.id}_smooth_pose", person.pose.shape)
        camera = np.empty_like(person.camera)
        for part in stretches(person.frames):
            times = person.times[part]
            rotmat[part] = smooth_rotations(person.rotmat[part], times)
            camera[part] = smooth_camera(person.camera[part], times)
            vectors = Rotation.from_matrix(rotmat[part].reshape(-1, 3, 3)).as_rotvec()
            pose[part] = vectors.reshape(-1, pose.shape[1])
        changes |= {"rotmat": rotmat, "pose": pose, "camera": camera}
        translation = camera_from_crop_to_image(camera, person.crops, person.intrinsics)
        changes["translation"] = np.asarray(translation)
        raw |= {"raw_rotmat": person.rotmat, "raw_camera": person.camera}
    person = dataclasses.replace(person, **changes)
    return Person(**vars(person) | raw | _points(person, body, allocate))


def _points(person: Reconstruction, body: Body, allocate: Allocate) -> dict[str, np.ndarray]:
    """Joints and keypoints of the body, in 3D and in the image."""
    n, joints = len(person), body.rest_joints.shape[0]
    points = {
        name: allocate(f"person_{person.id}_smooth_{name}", (n, *shape))
        for name, shape in (
            ("joints_3d", (joints, 3)), ("keypoints_3d", (49, 3)), ("keypoints_2d", (49, 2))
        )
    }  # fmt: skip
    posed_points = functools.partial(_posed_points, body)
    inputs = person.rotmat, person.shape, person.camera
    for rows, (joints_3d, points_3d, in_crop) in in_chunks(posed_points, CHUNK, *inputs):
        points["joints_3d"][rows], points["keypoints_3d"][rows] = joints_3d, points_3d
        points["keypoints_2d"][rows] = to_pixels(in_crop, person.crops[rows])
    return points


@jax.jit
def _posed_points(body: Body, rotmat: jax.Array, shape: jax.Array, camera: jax.Array):
    posed = pose_body(body, rotmat, shape)
    points = keypoints(body, posed)
    return posed.joints, points, project(points, camera)


def smooth_rotations(rotmat: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Filters rotations [n joints 3 3] at `times` [n], seconds, each joint separately, by slerp."""
    n, joints = rotmat.shape[:2]
    raw = Rotation.from_matrix(np.asarray(rotmat, np.float64).reshape(-1, 3, 3))
    raw = raw.as_quat().reshape(n, joints, 4)
    forward = _one_euro_rotations(raw, times)
    backward = _one_euro_rotations(raw[::-1], times[-1] - times[::-1])[::-1]
    mean = _slerp(forward.reshape(-1, 4), backward.reshape(-1, 4), np.full(n * joints, 0.5))
    matrices = Rotation.from_quat(mean).as_matrix()
    return matrices.reshape(n, joints, 3, 3).astype(np.float32)


def smooth_camera(camera: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Filters a crop's camera (s, tx, ty) [n 3] at `times` [n], seconds; log(s) instead of s."""
    raw = np.array(camera, np.float64)
    positive = bool((raw[:, 0] > 0).all())  # an untrained model may put people behind the camera
    if positive:
        raw[:, 0] = np.log(raw[:, 0])
    forward = _one_euro(raw, times)
    backward = _one_euro(raw[::-1], times[-1] - times[::-1])[::-1]
    out = (forward + backward) / 2
    if positive:
        out[:, 0] = np.exp(out[:, 0])
    return out.astype(np.float32)


def _one_euro(raw: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The forward filter, on values [n d], each separately."""
    out = raw.copy()
    speed = np.zeros(raw.shape[1:])
    for i, step in enumerate(_steps(times), 1):
        speed += _weight(SPEED_CUTOFF, step) * ((raw[i] - raw[i - 1]) / step - speed)
        weight = _weight(CAMERA_CUTOFF + CAMERA_GAIN * np.abs(speed), step)
        out[i] = out[i - 1] + weight * (raw[i] - out[i - 1])
    return out


def _one_euro_rotations(raw: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The forward filter, on quaternions [n joints 4]."""
    out = raw.copy()
    speed = np.zeros((raw.shape[1], 3))
    for i, step in enumerate(_steps(times), 1):
        # The mean velocity, not the mean speed: shaking to and fro is not motion.
        speed += _weight(SPEED_CUTOFF, step) * (_between(raw[i - 1], raw[i]) / step - speed)
        weight = _weight(ROTATION_CUTOFF + ROTATION_GAIN * np.linalg.norm(speed, axis=-1), step)
        out[i] = _slerp(out[i - 1], raw[i], weight)
    return out


def _steps(times: np.ndarray) -> np.ndarray:
    return np.maximum(np.diff(times), 1e-3)


def _weight(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Weight of a new value in a low-pass filter of `cutoff` Hz, `step` seconds after the last."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vectors [joints 3] from quaternions a to b."""
    return (Rotation.from_quat(a).inv() * Rotation.from_quat(b)).as_rotvec()


def _slerp(a: np.ndarray, b: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Interpolates from quaternions a [joints 4] to b the short way, by `fraction` [joints]."""
    step = Rotation.from_rotvec(fraction[:, None] * _between(a, b))
    return (Rotation.from_quat(a) * step).as_quat()
