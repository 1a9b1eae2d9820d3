"""Writes 3DPW in its owner's layout, with two short sequences of mannequins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import python2
from raw_person import camera_at, draw_image, write_image

from maed_jax.body.mannequin import mannequin
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.body.smpl import keypoint_body, keypoints, pose_body

WIDTH, HEIGHT = 96, 128
K = np.array([[150.0, 0, 50], [0, 152, 62], [0, 0, 1]])
FRAMES = 12
# The owner's 18 points by their names among the 49 keypoints.
OPENPOSE = (
    "nose", "OP Neck", "rshoulder", "relbow", "rwrist", "lshoulder", "lelbow", "lwrist",
    "rhip", "rknee", "rankle", "lhip", "lknee", "lankle", "reye", "leye", "rear", "lear",
)  # fmt: skip


@dataclasses.dataclass
class Truth:
    """What the records must contain for one actor."""

    keypoints_3d: np.ndarray
    """[t 49 3] metres, camera frame"""
    keypoints_2d: np.ndarray
    """[t 49 2] pixels"""
    betas: np.ndarray
    gender: str


def write(folder: Path) -> dict[str, Truth]:
    """Writes one actor in train/walk_00, two in test/talk_00; returns the ground truth by track."""
    truths = {}
    for split, name, actors in (("train", "walk_00", 1), ("test", "talk_00", 2)):
        content, found = _sequence(name, actors)
        path = folder / "sequenceFiles" / split / f"{name}.pkl"
        path.parent.mkdir(parents=True)
        python2.dump(content, path)
        truths |= found
        for frame in range(FRAMES):
            dots = found[f"{name}_0"].keypoints_2d[frame]
            image = draw_image(WIDTH, HEIGHT, dots, shade=frame)
            write_image(folder / "imageFiles" / name / f"image_{frame:05d}.jpg", image)
    return truths


def rewrite(folder: Path, path: str, change) -> None:
    """Rewrites a sequence's file after `change(content)`."""
    content, _ = _sequence(Path(path).stem, 2 if "talk" in path else 1)
    change(content)
    python2.dump(content, folder / path)


def _sequence(name: str, actors: int) -> tuple[dict, dict[str, Truth]]:
    """Returns the content of an owner's file, and the ground truth by track."""
    rng = np.random.default_rng(len(name) + actors)
    cameras = np.tile(np.eye(4), (FRAMES, 1, 1))
    for t in range(FRAMES):  # in front of them, moving and rolling
        turn, shift = camera_at((0.3 + 0.02 * t, 1.5, 4.5), roll=0.1 + 0.02 * t)
        cameras[t, :3, :3], cameras[t, :3, 3] = turn, shift
    content = {
        "sequence": name, "cam_poses": cameras, "cam_intrinsics": K,
        "img_frame_ids": np.arange(FRAMES) * 2, "texture_maps": [], "betas_clothed": [],
    }  # fmt: skip
    columns = ("poses", "trans", "betas", "poses2d", "jointPositions", "campose_valid", "genders",
               "poses_60Hz", "trans_60Hz")  # fmt: skip
    content |= {column: [] for column in columns}
    truths = {}
    for actor in range(actors):
        pose = rng.normal(0, 0.15, 72) + 0.01 * rng.normal(0, 1, (FRAMES, 72)).cumsum(0)
        pose[:, :3] = (0, 0.3 - 0.6 * actor, 0.05)  # towards the camera, roughly
        betas = rng.normal(0, 1, 16)
        betas[10:] = 7  # must not be used
        place = np.array([0.7 * actor - 0.2, 1, 0]) + np.outer(np.arange(FRAMES), (0.01, 0, 0.02))
        world, joints = posed(pose, betas[:10])
        world, joints = world + place[:, None], joints + place[:, None]
        in_camera = np.einsum("tij,tkj->tki", cameras[:, :3, :3], world) + cameras[:, None, :3, 3]
        pixels = in_camera @ K.T
        pixels = pixels[..., :2] / pixels[..., 2:]
        points = np.zeros((FRAMES, 18, 3))
        points[..., :2] = pixels[:, [KEYPOINT_NAMES.index(point) for point in OPENPOSE]]
        points[..., 2] = 0.8
        points[:, OPENPOSE.index("rear"), 2] = 0.2  # uncertain
        points[3] = 0  # no person found
        values = (pose, place, betas, points.swapaxes(1, 2), joints.reshape(FRAMES, 72),
                  np.arange(FRAMES) != 5, "mf"[actor], np.repeat(pose, 2, 0),
                  np.repeat(place, 2, 0))  # fmt: skip
        for column, value in zip(columns, values):
            content[column].append(value)
        gender = ("male", "female")[actor]
        truths[f"{name}_{actor}"] = Truth(in_camera, pixels, betas[:10], gender)
    return content, truths


def posed(pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mannequin's 49 keypoints `[12 49 3]` and 24 joints `[12 24 3]`.

    Args:
      pose: [12 72].
      betas: [10].
    """
    return jax.device_get(_points(keypoint_body(mannequin()), pose, betas))


@jax.jit
def _points(body, pose, betas):
    found = pose_body(body, matrix_from_axis_angle(pose.reshape(-1, 24, 3)), betas)
    return keypoints(body, found), found.joints
