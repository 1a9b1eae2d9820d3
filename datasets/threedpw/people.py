"""The people in 3DPW: the actors of a sequence, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import JOINT_SETS, to_keypoints49
from maed_jax.data.boxes import box_from_keypoints, smooth_boxes

from ..smpl_labels import root_in_camera
from ..source import Dropped, Person, PersonTrack
from . import body
from .sequence import Actor, Sequence, read_sequence

FRAME_RATE = 30.0
VISIBLE_ABOVE = 0.3  # threshold for OpenPose's confidence, as in the original
# OpenPose's 18 points. Those of the face are named as in COCO: they are the same points.
POINTS = ("nose", "OP Neck", *JOINT_SETS["3dpw"][2:], "reye", "leye", "rear", "lear")
LIMBS = slice(2, 14)  # those of the 18 that the original uses; boxes enclose these
LABELLED_3D = slice(25, 39)  # of the 49, as in the original


@dataclasses.dataclass(frozen=True)
class Task:
    """One sequence."""

    file: Path
    images: Path
    """its folder below imageFiles"""
    training: bool
    body: str | None


def read_people(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields a track for each actor of a sequence."""
    sequence = read_sequence(task.file)
    for number, actor in enumerate(sequence.actors):
        points = visible_points(actor)
        tight = box_from_keypoints(points[:, LIMBS], diagonal=True)
        if not np.isfinite(tight).any():
            dropped["no visible keypoints"] += len(points)
            continue
        boxes = smooth_boxes(tight, zero_padded=True)
        people = _people(task, sequence, actor, points, boxes, dropped)
        yield PersonTrack(f"{sequence.name}_{number}", people)


def _people(
    task: Task,
    sequence: Sequence,
    actor: Actor,
    points: np.ndarray,
    boxes: np.ndarray,
    dropped: Dropped,
) -> Iterator[Person]:
    pose = root_in_camera(actor.pose, sequence.world_to_camera[:, :3, :3])
    keypoints_3d = [None] * len(pose)
    if task.body:
        found = body.keypoints_in_camera(task.body, actor, sequence.world_to_camera)
        keypoints_3d = np.concatenate([found, np.zeros((*found.shape[:2], 1))], -1)
        keypoints_3d[:, LABELLED_3D, 3] = 1
    keypoints_2d = to_keypoints49(points, POINTS)
    for frame in range(len(pose)):
        # The root's orientation depends on the camera's pose: if that is invalid, there are no 3D
        # labels for training. Evaluation gets everything, and `valid`.
        labelled = actor.valid[frame] or not task.training
        if task.training and (points[frame, LIMBS, 2] > 0).sum() <= 6:
            dropped["6 of 12 limb joints or fewer visible"] += 1
            continue
        yield Person(
            image=task.images / f"image_{frame:05d}.jpg",
            keypoints_2d=keypoints_2d[frame],
            box=boxes[frame],
            frame=frame,
            keypoints_3d=keypoints_3d[frame] if labelled else None,
            pose=pose[frame] if labelled else None,
            shape=actor.betas if labelled else None,
            gender=actor.gender,
            intrinsics=sequence.intrinsics,
            frame_rate=FRAME_RATE,
            valid=bool(actor.valid[frame]),
        )


def visible_points(actor: Actor) -> np.ndarray:
    """Returns the 18 points `[t 18 3]`, the last column 1 if OpenPose is confident, else 0."""
    points = actor.points.copy()
    points[..., 2] = points[..., 2] > VISIBLE_ABOVE
    return points
