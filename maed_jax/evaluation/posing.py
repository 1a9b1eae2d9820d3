"""Bodies posed on the accelerator, some frames at a time: their joints, and how far surfaces are
apart.

A track's chunks have the same shape whatever the batches of the pass were, so that batches cannot
change a digit of the figures.
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
from maed_jax.evaluation.interpolation import neighbours, stretch
from maed_jax.evaluation.metrics import pve

CHUNK = 128  # frames
SHORT = 8  # frames of a chunk that holds all of a track: pictures come in tracks of one


class Poses(NamedTuple):
    """Bodies of one person."""

    body: smpl.Body
    rotmat: np.ndarray
    """[n 24 3 3]"""
    shape: np.ndarray
    """[n 10]"""


def rotations(pose: np.ndarray) -> np.ndarray:
    """Axis-angle poses `[n 72]` as rotations `[n 24 3 3]`."""
    return np.concatenate([found for _, found in in_chunks(_rotations, _size(pose), pose)])


def points_body(body: smpl.Body, source: str) -> smpl.Body:
    """The body with no more vertices than the points of `source` need, see `JointSet.source`."""
    regressor = body.h36m_regressor if source == "h36m" else body.landmark_regressor
    if regressor is None:
        return body  # the error comes where the points are asked for
    return smpl.restrict(body, np.flatnonzero(np.asarray(regressor != 0).any(axis=0)))


def body_points(poses: Poses, source: str, length: int, span: int, every: int) -> np.ndarray:
    """The points of predicted bodies in `length` frames, float64 `[length points 3]`, metres.

    Args:
      source: "h36m" or "keypoints".
      span, every: where there are predictions, see `interpolation`.
    """
    points_of = functools.partial(_points, poses.body, source=source)
    found = in_chunks(points_of, _size(poses.rotmat), poses.rotmat, poses.shape)
    points = np.concatenate([chunk for _, chunk in found])
    return stretch(points.astype(np.float64), length, span, every)


def compare(
    pred: Poses,
    true: Poses,
    source: str,
    root: tuple[int, ...] | None,
    span: int,
    every: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points of predicted and of true bodies, and the mean distance of their vertices.

    Args:
      pred: for every `every`-th frame of windows of `span` frames; true: for every frame.
      root: the points whose middle is the origin of both surfaces; None: as the bodies have it.

    Returns:
      Float64 `[t points 3]` twice, metres, and `[t]`, mm.
    """
    frames = _size(true.rotmat) if every == 1 else span * max(1, CHUNK // span)
    between = None if every == 1 else tuple(map(jnp.asarray, neighbours(frames, span, every)))
    found = []
    predicted = chunks(frames // every, pred.rotmat, pred.shape)
    for (_, pose), (here, truth) in zip(predicted, chunks(frames, true.rotmat, true.shape)):
        answer = _compare(pred.body, *pose, true.body, *truth, between, source, root)
        count = here.stop - here.start
        found.append([np.asarray(part)[:count].astype(np.float64) for part in answer])
    points, true_points, apart = (np.concatenate(part) for part in zip(*found))
    return points, true_points, apart


def _size(frames: np.ndarray) -> int:
    """How many frames of a track `[n ...]` are posed at once."""
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
def _compare(body, rotmat, shape, true_body, true_rotmat, true_shape, between, source, root):
    posed = smpl.pose_body(body, rotmat, shape)
    points, verts = _points_of(body, posed, source), posed.verts
    if between is not None:
        before, weight = between[0], between[1].astype(verts.dtype)[:, None, None]
        points, verts = (p[before] * (1 - weight) + p[before + 1] * weight for p in (points, verts))
    true = smpl.pose_body(true_body, true_rotmat, true_shape)
    true_points, true_verts = _points_of(true_body, true, source), true.verts
    if root is not None:
        verts = verts - points[:, root, :].mean(1, keepdims=True)
        true_verts = true_verts - true_points[:, root, :].mean(1, keepdims=True)
    return points, true_points, pve(verts, true_verts)
