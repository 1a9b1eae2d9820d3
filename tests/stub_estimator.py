"""Estimators without a network, for tests of the evaluation."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.models.maed import Prediction


def prediction(pose, shape, camera=None):
    """A `Prediction` of axis-angle poses `[b t 72]` and betas `[b t 10]`."""
    b, t = pose.shape[:2]
    # In float64, so that a frame's last digit does not depend on the other frames.
    vectors = np.asarray(pose, np.float64).reshape(-1, 3)
    rotmat = Rotation.from_rotvec(vectors).as_matrix().reshape(b, t, 24, 3, 3)
    rotmat = jnp.asarray(rotmat, jnp.float32)
    nothing = jnp.zeros((b, t, 49, 3))
    camera = jnp.zeros((b, t, 3)) if camera is None else camera
    return Prediction(camera, pose, shape, rotmat, nothing, nothing[..., :2], None, camera)


@dataclasses.dataclass(frozen=True)
class Stub:
    """Returns a pose that depends only on one row of the frame's pixels, to the last digit."""

    image_size: int = 16
    clip_length: int = 4
    variables: Any = dataclasses.field(default_factory=dict)
    body: Any = None

    def __call__(self, clip, *, vertices):
        assert clip.dtype == jnp.float32 and not vertices
        columns = clip[:, :, 8, :, 1]  # [b t w]
        angles = jnp.tile(columns, (1, 1, 5))[..., :72] * 0.3
        return prediction(angles, columns[..., :10] * 0.5, columns[..., :3])


def labels_of(clips, batch):
    """Returns pose, shape and frame number of each frame of a batch of `EvaluationClips`."""
    where = list(zip(batch.track, batch.frame))
    return {
        name: np.stack([getattr(clips.labels[track], name)[frame] for track, frame in where])
        for name in ("pose", "shape", "frame")
    }


class Oracle:
    """Predicts the labels of the current batch, changed by `change(pose, shape)`."""

    image_size, clip_length = 16, 4

    def __init__(self, change=lambda pose, shape: (pose, shape)):
        self.change, self.labels = change, None

    def watch(self, batches, what="evaluate"):
        """Notes the labels of each batch; pass it as `progress`."""
        for batch in batches:
            if what == "evaluate":
                self.labels = labels_of(batches, batch)
            yield batch

    def __call__(self, clip, vertices):
        assert clip.dtype == jnp.float32 and not vertices
        pose, shape = self.change(self.labels["pose"], self.labels["shape"])
        return prediction(jnp.asarray(pose), jnp.asarray(shape))


def rotated(pose: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Rotates the roots of poses `[... 72]` by the axis-angle `turn`, in the camera frame."""
    out = np.array(pose)
    root = Rotation.from_rotvec(turn) * Rotation.from_rotvec(out[..., :3].reshape(-1, 3))
    out[..., :3] = root.as_rotvec().reshape(out.shape[:-1] + (3,))
    return out
