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
from maed_jax.evaluation.interpolation import interpolate

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

    def collect(batch, *outputs: dict[str, jax.Array]) -> None:
        prediction, *mirrored = jax.device_get(outputs)
        for other in mirrored:
            prediction = _mean(prediction, _mirrored(other))
        # Dropping such frames, likely the hardest, would make the means look better.
        check_finite(*(prediction[name][batch.mask] for name in SHAPES))
        for name in SHAPES:
            clips.place(out[name], batch, prediction[name])

    pending = None
    with jax.default_matmul_precision("highest"):
        for batch in progress(clips):  # reads a batch while the previous one is computed
            if pending is not None:
                collect(*pending)
            pending = batch, _start(estimator, batch.image)
            if flip:
                pending += (_start(estimator, batch.image[..., ::-1, :]),)
    if pending is not None:
        collect(*pending)
    return out


def _start(estimator: Callable, image: np.ndarray) -> dict[str, jax.Array]:
    """Starts the estimator on a batch; JAX returns before the results are computed."""
    prediction = estimator(normalise(jnp.asarray(image)), vertices=False)
    return {name: getattr(prediction, name) for name in SHAPES}


def _mirrored(prediction: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mirrors a prediction; `pose` is not updated."""
    rotmat = _MIRROR @ prediction["rotmat"][..., JOINT_FLIP, :, :] @ _MIRROR
    return prediction | {"rotmat": rotmat, "camera": prediction["camera"] * np.float32([1, -1, 1])}


def _mean(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    mean = {name: (a[name] + b[name]) / 2 for name in ("rotmat", "shape", "camera")}
    return mean | _rotations(mean["rotmat"])


def _rotations(mean: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the nearest rotations to matrices `[... 24 3 3]` as rotmat and pose; keeps NaN."""
    finite = np.isfinite(mean).all((-3, -2, -1))
    rotmat = np.full_like(mean, np.nan)
    rotmat[finite] = nearest_rotation(mean[finite])
    pose = np.full((*mean.shape[:-3], 72), np.nan, mean.dtype)
    vectors = Rotation.from_matrix(rotmat[finite].reshape(-1, 3, 3)).as_rotvec()
    pose[finite] = vectors.reshape(-1, 72)
    return {"rotmat": rotmat, "pose": pose}


def constant(rotmat: np.ndarray, shape: np.ndarray, clips) -> Predicted:
    """Returns the same rotations `[24 3 3]` and betas `[10]` for every prediction of `clips`."""
    pose = Rotation.from_matrix(rotmat).as_rotvec().reshape(-1)
    values = {"rotmat": rotmat, "pose": pose, "shape": shape, "camera": np.zeros(3)}
    lengths = [len(track) for track in clips.empty()]
    return {
        name: [np.broadcast_to(np.float32(value), (n, *np.shape(value))) for n in lengths]
        for name, value in values.items()
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
            interpolate(predicted[name][i], len(clips.frames[i]), clips.span, clips.every)
            for i in tracks
        ]
        for name in ("rotmat", "shape", "camera")
    }
    rotations = [_rotations(rotmat) for rotmat in out["rotmat"]]
    return out | {name: [track[name] for track in rotations] for name in ("rotmat", "pose")}


def on_local_devices(estimator, clips_per_batch: int):
    """Returns the estimator on all devices of this process, and its batch size in clips.

    The batch is split over the devices and its size rounded up to a multiple of their number. With
    one device nothing changes.
    """
    devices = jax.local_device_count()
    if devices == 1:
        return estimator, clips_per_batch
    mesh = jax.make_mesh((devices,), ("clips",), (AxisType.Auto,), devices=jax.local_devices())
    replicated = NamedSharding(mesh, PartitionSpec())
    over_clips = NamedSharding(mesh, PartitionSpec("clips"))
    variables, body = jax.device_put((estimator.variables, estimator.body), replicated)
    replica = dataclasses.replace(estimator, variables=variables, body=body)

    def sharded(clip, *, vertices):
        return replica(jax.device_put(clip, over_clips), vertices=vertices)

    return sharded, -(-clips_per_batch // devices) * devices
