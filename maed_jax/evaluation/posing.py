"""Poses bodies on the accelerator in chunks of frames: their joints and vertex errors.

The shape of a track's chunks does not depend on the model's batch size, so batching does not change
a digit of the results.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from maed_jax.body import smpl
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.chunks import chunks, in_chunks
from maed_jax.evaluation.interpolation import interpolate, neighbours
from maed_jax.evaluation.metrics import pve

CHUNK = 128  # frames
SHORT = 8  # frames in the chunk of a short track: images are tracks of one frame


class Poses(NamedTuple):
    """The bodies of one person in n frames."""

    body: smpl.Body
    rotmat: np.ndarray
    """[n 24 3 3]"""
    shape: np.ndarray
    """[n 10]"""


def rotations(pose: np.ndarray) -> np.ndarray:
    """Converts axis-angle poses `[n 72]` to rotations `[n 24 3 3]`."""
    return np.concatenate([chunk for _, chunk in in_chunks(_rotations, _chunk_size(pose), pose)])


def points_body(body: smpl.Body, source: str) -> smpl.Body:
    """Returns the body restricted to the vertices that the points of `source` depend on.

    See `JointSet.source`.
    """
    regressor = body.h36m_regressor if source == "h36m" else body.landmark_regressor
    if regressor is None:
        return body  # computing the points raises the error
    return smpl.restrict(body, np.flatnonzero(np.asarray(regressor != 0).any(axis=0)))


def body_points(poses: Poses, source: str, length: int, span: int, every: int) -> np.ndarray:
    """Returns the points of predicted bodies in `length` frames, float64 `[length points 3]` m.

    Args:
      source: "h36m" or "keypoints".
      span, every: which frames have predictions, see `interpolation`.
    """
    points_of = functools.partial(_points, poses.body, source=source)
    outputs = in_chunks(points_of, _chunk_size(poses.rotmat), poses.rotmat, poses.shape)
    points = np.concatenate([chunk for _, chunk in outputs])
    return interpolate(points.astype(np.float64), length, span, every)


def compare(
    pred: Poses,
    true: Poses,
    source: str,
    root: tuple[int, ...] | None,
    span: int,
    every: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the points of predicted and true bodies, and the mean distance of their vertices.

    Args:
      pred: for every `every`-th frame of windows of `span` frames.
      true: for every frame.
      root: points on whose mean both surfaces are centred; None: as the body model places them.

    Returns:
      Predicted and true points, float64 `[t points 3]` in metres, and vertex errors, `[t]` in mm.
    """
    frames = _chunk_size(true.rotmat) if every == 1 else span * max(1, CHUNK // span)
    interpolation = None if every == 1 else tuple(map(jnp.asarray, neighbours(frames, span, every)))
    parts = []
    predicted = chunks(frames // every, pred.rotmat, pred.shape)
    for (_, pose), (rows, true_pose) in zip(predicted, chunks(frames, true.rotmat, true.shape)):
        outputs = _compare(pred.body, *pose, true.body, *true_pose, interpolation, source, root)
        count = rows.stop - rows.start
        parts.append([np.asarray(part)[:count].astype(np.float64) for part in outputs])
    points, true_points, vertex_errors = (np.concatenate(part) for part in zip(*parts))
    return points, true_points, vertex_errors


def _chunk_size(frames: np.ndarray) -> int:
    """Returns the chunk size, in frames, for a track `[n ...]`."""
    return CHUNK if len(frames) > SHORT else SHORT


@jax.jit
def _rotations(pose: jax.Array) -> jax.Array:
    return matrix_from_axis_angle(rearrange(pose, "n (joints xyz) -> n joints xyz", xyz=3))


@functools.partial(jax.jit, static_argnames=("source",))
def _points(body: smpl.Body, rotmat: jax.Array, shape: jax.Array, source: str) -> jax.Array:
    return _points_of(body, smpl.pose_body(body, rotmat, shape), source)


def _points_of(body: smpl.Body, posed: smpl.Posed, source: str) -> jax.Array:
    return (smpl.h36m_joints if source == "h36m" else smpl.keypoints)(body, posed)


@functools.partial(jax.jit, static_argnames=("source", "root"))
def _compare(body, rotmat, shape, true_body, true_rotmat, true_shape, interpolation, source, root):
    posed = smpl.pose_body(body, rotmat, shape)
    points, verts = _points_of(body, posed, source), posed.verts
    if interpolation is not None:
        before, weight = interpolation[0], interpolation[1].astype(verts.dtype)[:, None, None]
        points, verts = (p[before] * (1 - weight) + p[before + 1] * weight for p in (points, verts))
    true = smpl.pose_body(true_body, true_rotmat, true_shape)
    true_points, true_verts = _points_of(true_body, true, source), true.verts
    if root is not None:
        verts = verts - points[:, root, :].mean(1, keepdims=True)
        true_verts = true_verts - true_points[:, root, :].mean(1, keepdims=True)
    return points, true_points, pve(verts, true_verts)
