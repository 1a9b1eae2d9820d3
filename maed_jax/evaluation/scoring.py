"""The pass over a test set: predictions and their errors, frame by frame, of every track."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from maed_jax.body import smpl
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.skeleton import H36M_TO_J14
from maed_jax.data.images import normalise
from maed_jax.errors import UserError
from maed_jax.evaluation import metrics

PROTOCOL = (
    "14 joints from Human3.6M's regressor, predicted and true body alike, about the middle of the "
    "hips; PA: aligned frame by frame; ACCEL within tracks. Millimetres (ACCEL: per frame squared)."
)


@dataclasses.dataclass
class TrackScores:
    """Errors of one track, mm, NaN where a frame does not count."""

    name: str
    subset: str
    mpjpe: np.ndarray
    """[t]"""
    pa_mpjpe: np.ndarray
    """[t]"""
    pve: np.ndarray
    """[t]"""
    accel: np.ndarray
    """[t-2]"""


@dataclasses.dataclass
class Evaluation:
    """What an evaluation found, track by track."""

    scores: list[TrackScores]
    baseline: list[TrackScores] | None
    """the mean pose's, where one was given"""
    predictions: list[dict[str, np.ndarray]]
    """for each track: pose [t 72], shape [t 10], camera [t 3], joints and target_joints [t 14 3]"""


def evaluate(
    estimator: Callable,
    clips,
    body: smpl.Body,
    *,
    baseline: tuple[np.ndarray, np.ndarray] | None = None,
    progress: Callable[[Iterable], Iterable] = lambda batches: batches,
) -> Evaluation:
    """Runs the estimator over `clips` and compares bodies with the labels.

    Args:
      estimator: normalised clips `[b t h w 3]` to a `Prediction`; of it rotations, pose, shape and
        camera are read, so that it may hold a body of keypoints only.
      clips: a `maed_jax.data.eval_clips.EvaluationClips`.
      body: poses predictions and labels; with its H36M regressor.
      baseline: rotations `[24 3 3]` and betas `[10]` to compare with, see `evaluation.baseline`.

    Raises:
      UserError: no frame has labels, or the body lacks its H36M regressor.
    """
    gathered = _Gathered(clips)
    constant = _Gathered(clips) if baseline is not None else None
    for batch in progress(clips):
        prediction = estimator(normalise(jnp.asarray(batch.image)), vertices=False)
        labels = batch.labels
        truth = _posed(body, matrix_from_axis_angle(_by_joint(labels["pose"])), labels["shape"])
        counts = batch.mask & (labels["has_smpl"] > 0)
        compared = _compare(_posed(body, prediction.rotmat, prediction.shape), truth)
        gathered.add(batch, counts, compared, prediction)
        if constant is not None:
            rotmat, shape = (jnp.asarray(part)[None, None] for part in baseline)
            constant.add(batch, counts, _compare(_posed(body, rotmat, shape), truth))
    return Evaluation(
        gathered.scores(),
        constant.scores() if constant is not None else None,
        gathered.predictions(),
    )


def _by_joint(pose):
    return rearrange(pose, "b t (joints xyz) -> b t joints xyz", xyz=3)


@jax.jit
def _posed(body: smpl.Body, rotmat: jax.Array, shape: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The 14 joints and the vertices of bodies."""
    posed = smpl.pose_body(body, rotmat, shape)
    return smpl.h36m_joints(body, posed)[..., H36M_TO_J14, :], posed.verts


@jax.jit
def _compare(pred, truth) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Joints, true joints `[b t 14 3]`, and the mean distance of vertices in mm `[b t]`."""
    (joints, verts), (true_joints, true_verts) = pred, truth
    # On the device: vertices are too many to fetch. As metrics.pve, in float32.
    pve = metrics.MILLIMETRES * jnp.linalg.norm(verts - true_verts, axis=-1).mean(-1)
    return jnp.broadcast_to(joints, true_joints.shape), true_joints, pve


class _Gathered:
    """Puts frames of clips back into their tracks."""

    SHAPES = {"joints": (14, 3), "target_joints": (14, 3), "pve": ()}
    PREDICTED = {"pose": (72,), "shape": (10,), "camera": (3,)}

    def __init__(self, clips):
        self._tracks = clips.tracks
        shapes = self.SHAPES | self.PREDICTED
        self._arrays = {name: clips.empty(*shape) for name, shape in shapes.items()}

    def add(self, batch, counts, compared, prediction=None) -> None:
        values = dict(zip(self.SHAPES, compared))
        if prediction is not None:
            values |= {name: getattr(prediction, name) for name in self.PREDICTED}
        for name, array in jax.device_get(values).items():
            for row, track in enumerate(batch.track):
                chosen = counts[row]
                if track >= 0 and chosen.any():
                    self._arrays[name][track][batch.frame[row][chosen]] = array[row][chosen]

    def scores(self) -> list[TrackScores]:
        found = [self._score(i, track) for i, track in enumerate(self._tracks)]
        if not any(np.isfinite(s.mpjpe).any() for s in found):
            raise UserError("no frame of this split could be compared: none has pose labels")
        return found

    def _score(self, i: int, track) -> TrackScores:
        joints, target = self._arrays["joints"][i], self._arrays["target_joints"][i]
        valid = np.isfinite(target).all((-1, -2))
        return TrackScores(
            track.name,
            track.subset,
            metrics.mpjpe(joints, target),
            metrics.pa_mpjpe(joints, target),
            self._arrays["pve"][i],
            metrics.accel_error(joints, target, valid=valid),
        )

    def predictions(self) -> list[dict[str, np.ndarray]]:
        names = [*self.PREDICTED, "joints", "target_joints"]
        return [{n: self._arrays[n][i] for n in names} for i in range(len(self._tracks))]
