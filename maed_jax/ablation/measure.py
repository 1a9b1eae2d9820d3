"""What the study measures on one trained model, beyond the errors of `scoring`.

Measurements are plain numbers and lists, ready for JSON.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body import smpl
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.skeleton import H36M_TO_J14
from maed_jax.body.smpl import NUM_JOINTS
from maed_jax.data import augment
from maed_jax.data.eval_clips import EvaluationClips
from maed_jax.data.images import normalise
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.evaluation import metrics, scoring, table
from maed_jax.evaluation.predictions import Predicted
from maed_jax.models.encoder import attention_weights
from maed_jax.models.maed import MAED

FRACTIONS = tuple(part / 10 for part in range(10))
"""blanked fractions of a frame"""


def errors(predicted: Predicted, clips: EvaluationClips, body: smpl.Body) -> dict:
    """Computes the table's errors by subset, and the errors of each joint of the tree.

    Args:
      predicted, clips, body: see `scoring.plain_scores`.

    Returns:
      `subsets`: name (and "all") -> row of `table.rows`, under the protocol `PLAIN`; `joints`: see
      `joint_errors`.
    """
    scores = scoring.plain_scores(predicted, clips, body)
    counts = np.isfinite(np.concatenate([track.errors["mpjpe"] for track in scores]))
    parts = (
        *(predicted["pose"], predicted["shape"]),
        *([labels.pose for labels in clips.labels], [labels.shape for labels in clips.labels]),
    )
    return {
        "subsets": {row["subset"]: row for row in table.rows("model", scores)},
        "joints": joint_errors(body, *(np.concatenate(tracks)[counts] for tracks in parts)),
    }


def joint_errors(
    body: smpl.Body,
    pose: np.ndarray,
    shape: np.ndarray,
    true_pose: np.ndarray,
    true_shape: np.ndarray,
) -> dict[str, list[float]]:
    """Computes the mean errors over frames of the 24 joints of SMPL's tree.

    Args:
      pose, true_pose: `[frames 72]` axis-angle.
      shape, true_shape: `[frames 10]` betas.

    Returns:
      `position_mm` [24], with both bodies centred on their pelvis; `rotation_deg` [24], the angle
      between predicted and true rotation in the parent's frame (the pelvis': in the camera frame).
    """
    body = smpl.restrict(body, [0])  # joints need no vertices

    def joints(pose, shape):
        return metrics.centre(_tree_joints(body, jnp.asarray(pose), jnp.asarray(shape)), (0,))

    position = metrics.distances(joints(pose, shape), joints(true_pose, true_shape))
    rotation, truth = (Rotation.from_rotvec(np.reshape(p, (-1, 3))) for p in (pose, true_pose))
    angle = np.degrees((rotation.inv() * truth).magnitude()).reshape(-1, NUM_JOINTS)
    return {
        "position_mm": position.mean(0).tolist(),
        "rotation_deg": angle.mean(0).tolist(),
    }


@jax.jit
def _tree_joints(body: smpl.Body, pose: jax.Array, shape: jax.Array) -> jax.Array:
    rotations = matrix_from_axis_angle(pose.reshape(*pose.shape[:-1], NUM_JOINTS, 3))
    return smpl.pose_body(body, rotations, shape).joints


def has_gates(model: MAED) -> bool:
    return model.encoder == "ste" and model.mode == "parallel"


def time_gates(estimator: Estimator, images: np.ndarray) -> np.ndarray:
    """Computes the weight of the temporal branch in each block, in [0, 1].

    Args:
      estimator: its model must have gates (see `has_gates`).
      images: uint8 `[b t h w 3]`.

    Returns:
      `[b t blocks]`, the mean over channels; the spatial branch has the rest.
    """
    return np.asarray(_gates(estimator.model, estimator.variables, estimator.body, images))


@functools.partial(jax.jit, static_argnums=0)
def _gates(model: MAED, variables: Any, body: smpl.Body, images: jax.Array) -> jax.Array:
    _, state = model.apply(
        variables, normalise(images), body, method="regress", mutable="intermediates"
    )
    gates = [block["gates"].astype(jnp.float32).mean(-1) for block in attention_weights(state)]
    return jnp.stack(gates, -1)


def gates_by_subset(estimator: Estimator, clips: EvaluationClips) -> dict:
    """Computes the mean gates of each subset, and their correlation with occlusion.

    Returns:
      `subsets`: name (and "all") -> [blocks]; `occlusion_correlation` [blocks]: the correlation
      over frames of the gate with belonging to the subset "occlusion" rather than "plain", or None.
    """
    gates = clips.empty(estimator.model.depth)
    for batch in clips:
        clips.place(gates, batch, time_gates(estimator, batch.image))
    subsets = np.concatenate([np.full(len(g), t.subset) for g, t in zip(gates, clips.tracks)])
    gates = np.concatenate(gates)
    finite = np.isfinite(gates).all(-1)
    gates, subsets = gates[finite], subsets[finite]
    means = {
        str(name): gates[subsets == name].mean(0).tolist()
        for name in dict.fromkeys(subsets)
        if name
    }
    compared = np.isin(subsets, ("plain", "occlusion"))
    return {
        "subsets": means | {table.ALL: gates.mean(0).tolist()},
        "occlusion_correlation": [
            correlation(subsets[compared] == "occlusion", gate) for gate in gates[compared].T
        ],
    }


def clear_clips(clips: EvaluationClips, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns up to `count` whole clips with labels, spread evenly over `clips`.

    Returns:
      Images, uint8 `[clips t h w 3]`, and labels: pose `[clips t 72]` and shape `[clips t 10]`.

    Raises:
      UserError: there are none.
    """
    images, poses, shapes = [], [], []
    for batch in clips:
        for image, track, frame, mask in zip(batch.image, batch.track, batch.frame, batch.mask):
            labels = clips.labels[track]
            if mask.all() and labels.has_smpl[frame].all():
                images.append(image)
                poses.append(labels.pose[frame])
                shapes.append(labels.shape[frame])
    if not images:
        raise UserError("no whole clip of the test split has labels and readable images")
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    truth = {"pose": np.stack(poses)[chosen], "shape": np.stack(shapes)[chosen]}
    return np.stack(images)[chosen], truth


def blank(images: np.ndarray, frame: int, side: str, fraction: float) -> np.ndarray:
    """Returns a copy of clips, uint8 `[b t h w 3]`, with part of one frame blanked from a side."""
    parts = tuple((side, fraction if i == frame else 0.0) for i in range(images.shape[1]))
    changes = augment.Changes(erased=parts)
    return np.stack([augment.erase(clip.copy(), changes) for clip in images])


def blanked_frame(
    estimator: Estimator,
    body: smpl.Body,
    images: np.ndarray,
    labels: dict[str, np.ndarray],
    fractions: Sequence[float] = FRACTIONS,
) -> dict:
    """Measures what blanking more and more of the middle frame does, from each side in turn.

    Args:
      body: needs its H36M regressor; may be restricted to keypoints.
      images, labels: see `clear_clips`.

    Returns:
      `fractions`; `mpjpe` and `pa_mpjpe`: mean errors of that frame at each, mm; and for models
      with gates `gate` and `gate_others` [fractions blocks]: the weight of time in that frame and
      in the other frames of the same clips, and `gate_correlation` [blocks]: the correlation over
      all clips and sides of the fraction with the frame's gate minus the mean of the others.
    """
    t = images.shape[1]
    frame, others = t // 2, [i for i in range(t) if i != t // 2]
    pose = matrix_from_axis_angle(jnp.asarray(labels["pose"][:, frame]).reshape(-1, NUM_JOINTS, 3))
    true_joints = _joints14(body, pose, jnp.asarray(labels["shape"][:, frame]))
    gated = has_gates(estimator.model)
    means: dict[str, list] = {"mpjpe": [], "pa_mpjpe": [], "gate": [], "gate_others": []}
    samples: list[tuple[float, np.ndarray]] = []
    for fraction in fractions:
        per_side: dict[str, list] = {name: [] for name in means}
        for side in augment.SIDES if fraction else augment.SIDES[:1]:
            blanked = blank(images, frame, side, fraction)
            prediction = estimator(normalise(jnp.asarray(blanked)), vertices=False)
            joints = _joints14(body, prediction.rotmat[:, frame], prediction.shape[:, frame])
            per_side["mpjpe"].append(metrics.mpjpe(joints, true_joints).mean())
            per_side["pa_mpjpe"].append(metrics.pa_mpjpe(joints, true_joints).mean())
            if gated:
                gates = time_gates(estimator, blanked)
                per_side["gate"].append(gates[:, frame].mean(0))
                per_side["gate_others"].append(gates[:, others].mean((0, 1)))
                above = gates[:, frame] - gates[:, others].mean(1)
                samples += [(fraction, row) for row in above]
        for name, values in per_side.items():
            if values:
                means[name].append(np.mean(values, axis=0).tolist())
    results = {"fractions": list(fractions)} | {k: v for k, v in means.items() if v}
    if gated:
        fraction, above = np.array([s[0] for s in samples]), np.stack([s[1] for s in samples])
        results["gate_correlation"] = [correlation(fraction, block) for block in above.T]
    return results


@jax.jit
def _joints14(body: smpl.Body, rotmat: jax.Array, shape: jax.Array) -> jax.Array:
    return smpl.h36m_joints(body, smpl.pose_body(body, rotmat, shape))[..., H36M_TO_J14, :]


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Returns Pearson's correlation, or None if one of the variables is constant."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) < 1e-9:
        return None
    return float(np.corrcoef(x, y)[0, 1])
