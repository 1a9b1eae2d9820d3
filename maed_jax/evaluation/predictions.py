"""Runs the model over a test split and sorts its predictions into tracks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy.spatial.transform import Rotation

from maed_jax.body.skeleton import JOINT_FLIP
from maed_jax.data.images import normalise
from maed_jax.estimator import check_finite
from maed_jax.evaluation.baseline import nearest_rotation
from maed_jax.evaluation.interpolation import stretch

Predicted = dict[str, list[np.ndarray]]
"""Per track, with a leading axis over its predictions (see `EvaluationClips.empty`), NaN where
there is none: rotmat [24 3 3], pose [72] axis-angle, shape [10], camera [3]"""

SHAPES = {"rotmat": (24, 3, 3), "pose": (72,), "shape": (10,), "camera": (3,)}
_MIRROR = np.diag(np.array([-1, 1, 1], np.float32))


def predict(
    estimator: Callable,
    clips,
    *,
    flip: bool = False,
    progress: Callable[[Iterable], Iterable] = lambda batches: batches,
) -> Predicted:
    """Runs the estimator over `clips`, each frame once, with matmuls in full float32.

    By default, accelerators round the inputs of float32 matmuls to 19 or 16 bits.

    Args:
      estimator: maps normalised clips `[b t h w 3]` to a `Prediction`. Only rotations, pose, shape
        and camera are used, so a body restricted to keypoints is enough.
      clips: a `maed_jax.data.eval_clips.EvaluationClips`.
      flip: also predict the mirrored images and average the two.

    Raises:
      UserError: the estimator returns non-finite values.
    """
    out = {name: clips.empty(*shape) for name, shape in SHAPES.items()}

    def collect(batch, *asked: dict[str, jax.Array]) -> None:
        answer, *mirrored = jax.device_get(asked)
        for other in mirrored:
            answer = _mean(answer, _mirrored(other))
        # Dropping such frames, likely the hardest, would make the means look better.
        check_finite(*(answer[name][batch.mask] for name in SHAPES))
        for name in SHAPES:
            clips.place(out[name], batch, answer[name])

    running = None
    with jax.default_matmul_precision("highest"):
        for batch in progress(clips):  # reads a batch while the previous one is computed
            if running is not None:
                collect(*running)
            running = batch, _ask(estimator, batch.image)
            if flip:
                running += (_ask(estimator, batch.image[..., ::-1, :]),)
    if running is not None:
        collect(*running)
    return out


def _ask(estimator: Callable, image: np.ndarray) -> dict[str, jax.Array]:
    """Starts the estimator on a batch; JAX returns before the results are computed."""
    prediction = estimator(normalise(jnp.asarray(image)), vertices=False)
    return {name: getattr(prediction, name) for name in SHAPES}


def _mirrored(answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mirrors a prediction; `pose` is not updated."""
    rotmat = _MIRROR @ answer["rotmat"][..., JOINT_FLIP, :, :] @ _MIRROR
    return answer | {"rotmat": rotmat, "camera": answer["camera"] * np.float32([1, -1, 1])}


def _mean(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    mean = {name: (one[name] + other[name]) / 2 for name in ("rotmat", "shape", "camera")}
    return mean | _rotations(mean["rotmat"])


def _rotations(mean: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the nearest rotations to matrices `[... 24 3 3]` as rotmat and pose; keeps NaN."""
    known = np.isfinite(mean).all((-3, -2, -1))
    rotmat = np.full_like(mean, np.nan)
    rotmat[known] = nearest_rotation(mean[known])
    pose = np.full((*mean.shape[:-3], 72), np.nan, mean.dtype)
    vectors = Rotation.from_matrix(rotmat[known].reshape(-1, 3, 3)).as_rotvec()
    pose[known] = vectors.reshape(-1, 72)
    return {"rotmat": rotmat, "pose": pose}


def constant(rotmat: np.ndarray, shape: np.ndarray, clips) -> Predicted:
    """Returns the same rotations `[24 3 3]` and betas `[10]` for every prediction of `clips`."""
    pose = Rotation.from_matrix(rotmat).as_rotvec().reshape(-1)
    same = {"rotmat": rotmat, "pose": pose, "shape": shape, "camera": np.zeros(3)}
    lengths = [len(track) for track in clips.empty()]
    return {
        name: [np.broadcast_to(np.float32(part), (n, *np.shape(part))) for n in lengths]
        for name, part in same.items()
    }


def by_frame(predicted: Predicted, clips) -> Predicted:
    """Interpolates predictions of every n-th frame to all frames, for the files of `maed eval`.

    Interpolated rotations are the nearest to the weighted mean of the matrices.
    """
    if clips.every == 1:
        return predicted
    tracks = range(len(clips.frames))
    out: Predicted = {
        name: [
            stretch(predicted[name][i], len(clips.frames[i]), clips.span, clips.every)
            for i in tracks
        ]
        for name in ("rotmat", "shape", "camera")
    }
    between = [_rotations(rotmat) for rotmat in out["rotmat"]]
    return out | {name: [part[name] for part in between] for name in ("rotmat", "pose")}


def on_local_devices(estimator, clips_per_batch: int):
    """Returns the estimator on all devices of this process, and its batch size in clips.

    The batch is split over the devices and its size rounded up to a multiple of their number. With
    one device nothing changes.
    """
    devices = jax.local_device_count()
    if devices == 1:
        return estimator, clips_per_batch
    mesh = jax.make_mesh((devices,), ("clips",), (AxisType.Auto,), devices=jax.local_devices())
    whole, parts = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("clips"))
    variables, body = jax.device_put((estimator.variables, estimator.body), whole)
    copy = dataclasses.replace(estimator, variables=variables, body=body)

    def split(clip, *, vertices):
        return copy(jax.device_put(clip, parts), vertices=vertices)

    return split, -(-clips_per_batch // devices) * devices
