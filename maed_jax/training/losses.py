"""The four losses of the paper (section 3.4), as masked means; that of SMPL has two terms.

Every function takes predictions and labels with the same leading axes and ignores masked labels,
even if they are not finite. `clips` and `frames` are the numbers of unmasked ones (`count`), by
which sums are divided; for a batch processed in parts, see `label_counts`.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from einops import rearrange

from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.skeleton import LEFT_HIP, RIGHT_HIP
from maed_jax.models.maed import Prediction

Labels = Mapping[str, jax.Array]


def masked_squares(pred: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """weight * (pred - target)^2; zero for any target where the weight is 0 or NaN."""
    weight = jnp.where(weight > 0, weight, 0.0)
    difference = jnp.where(weight > 0, pred - target, 0.0)
    return weight * difference**2


def keypoint_2d_loss(pred: jax.Array, target: jax.Array) -> jax.Array:
    """Mean of confidence * squared error over everything: `[b t 49 2]` against `[b t 49 3]`."""
    return masked_squares(pred, target[..., :2], target[..., 2:]).mean()


def count(has: jax.Array) -> jax.Array:
    """The number of unmasked entries, at least 1, so that a mean over none is 0."""
    return jnp.maximum(has.sum(), 1.0)


def keypoint_3d_loss(
    pred: jax.Array, target: jax.Array, has_3d: jax.Array, clips: jax.Array
) -> jax.Array:
    """As in 2D, relative to the middle of the hips, over the clips where `has_3d [b]` is true.

    `[b t 49 3]` against `[b t 49 4]`, metres. If any keypoint counts, the target's hips must be
    finite: they are the origin regardless of their own confidence, as in the original.
    """
    weight = target[..., 3:] * rearrange(has_3d, "b -> b 1 1 1")
    squares = masked_squares(about_hips(pred), about_hips(target[..., :3]), weight)
    return squares.sum() / (clips * pred[0].size)


def about_hips(points: jax.Array) -> jax.Array:
    """Keypoints `[... 49 3]` relative to the middle of the two hips."""
    return points - (points[..., [RIGHT_HIP], :] + points[..., [LEFT_HIP], :]) / 2


def pose_loss(
    rotmat: jax.Array, target: jax.Array, has_smpl: jax.Array, frames: jax.Array
) -> jax.Array:
    """Mean squared difference of rotation matrices over the frames where `has_smpl [b t]` is true.

    `[b t 24 3 3]` against axis-angle `[b t 72]`. Converting the predicted axis-angle to matrices
    would give the same value, but its gradient does not exist at angles 0 and pi.
    """
    pose = rearrange(target, "b t (joints xyz) -> b t joints xyz", xyz=3)
    weight = rearrange(has_smpl, "b t -> b t 1 1")
    pose = jnp.where(weight > 0, pose, 0.0)
    squares = masked_squares(rotmat, matrix_from_axis_angle(pose), weight[..., None])
    return squares.sum() / (frames * rotmat[0, 0].size)


def shape_loss(
    shape: jax.Array, target: jax.Array, has_smpl: jax.Array, frames: jax.Array
) -> jax.Array:
    """Mean squared difference of betas `[b t 10]` where `has_smpl [b t]` is true."""
    squares = masked_squares(shape, target, has_smpl[..., None])
    return squares.sum() / (frames * shape.shape[-1])


def norm_loss(pose: jax.Array, shape: jax.Array, has_3d: jax.Array, clips: jax.Array) -> jax.Array:
    """Frobenius norm of pose `[b t 72]` and shape `[b t 10]` divided by the number of frames.

    Only clips where `has_3d [b]` is true count.
    """
    theta = jnp.concatenate([pose, shape], axis=-1)
    squares = (rearrange(has_3d, "b -> b 1 1") * theta**2).sum()
    norm = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return norm / (clips * theta.shape[1])


def losses(
    prediction: Prediction,
    labels: Labels,
    weights: Mapping[str, float],
    counts: Mapping[str, jax.Array],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the four losses and the unweighted terms by name.

    Args:
      prediction: for clips, or for images as clips of one frame.
      labels: `keypoints_2d [b t 49 3]`, `keypoints_3d [b t 49 4]`, `pose [b t 72]`,
        `shape [b t 10]`, `has_smpl [b t]` and `has_3d [b]`.
      weights: by term: `keypoints_2d`, `keypoints_3d`, `pose`, `shape`, `norm`.
      counts: the numbers of true `has_3d` and `has_smpl`, see `label_counts`.
    """
    clips, frames = counts["has_3d"], counts["has_smpl"]
    terms = {
        "keypoints_2d": keypoint_2d_loss(prediction.keypoints_2d, labels["keypoints_2d"]),
        "keypoints_3d": keypoint_3d_loss(
            prediction.keypoints_3d, labels["keypoints_3d"], labels["has_3d"], clips
        ),
        "pose": pose_loss(prediction.rotmat, labels["pose"], labels["has_smpl"], frames),
        "shape": shape_loss(prediction.shape, labels["shape"], labels["has_smpl"], frames),
        "norm": norm_loss(prediction.pose, prediction.shape, labels["has_3d"], clips),
    }
    return sum(weights[name] * value for name, value in terms.items()), terms


def label_counts(batch: Mapping[str, Labels], parts: int) -> dict[str, dict[str, jax.Array]]:
    """The numbers of labels of each kind of data, divided by `parts`, by which sums are divided.

    With these, the mean of `combined_losses` over `parts` equal parts of the batch is that of the
    whole batch, however labels are distributed over the parts.
    """
    return {
        name: {has: count(labels[has]) / parts for has in ("has_3d", "has_smpl")}
        for name, labels in _as_counted(batch).items()
    }


def combined_losses(
    predictions: Mapping[str, Prediction],
    batch: Mapping[str, Labels],
    weights: Mapping[str, float],
    counts: Mapping[str, Mapping[str, jax.Array]],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The losses of a step on clips, images or both, each weighted by its fraction of the frames.

    As in the original, the 3D loss and the norm are means over the clips with 3D labels, but over
    all images, even those without 3D labels: the norm thus regularises these too.

    counts: see `label_counts`.
    """
    batch = _as_counted(batch)
    frames = {name: p.camera.shape[0] * p.camera.shape[1] for name, p in predictions.items()}
    total, terms = 0.0, {}
    for name, prediction in predictions.items():
        fraction = frames[name] / sum(frames.values())
        part, part_terms = losses(prediction, batch[name], weights, counts[name])
        total += fraction * part
        terms |= {term: terms.get(term, 0.0) + fraction * v for term, v in part_terms.items()}
    return total, terms


def _as_counted(batch: Mapping[str, Labels]) -> dict[str, Labels]:
    """The batch, with all images counted as if they had 3D labels, as in the original."""
    return {name: _as_if_3d(a) if name == "images" else a for name, a in batch.items()}


def _as_if_3d(labels: Labels) -> dict[str, jax.Array]:
    """The labels with `has_3d` set to true, and invalid 3D keypoints where it was false."""
    has_3d, keypoints = labels["has_3d"], labels["keypoints_3d"]
    valid = jnp.where(rearrange(has_3d, "b -> b 1 1") > 0, keypoints[..., 3], 0.0)
    keypoints = jnp.concatenate([keypoints[..., :3], valid[..., None]], axis=-1)
    return {**labels, "has_3d": jnp.ones_like(has_3d), "keypoints_3d": keypoints}
