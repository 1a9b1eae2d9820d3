"""A tiny model with MAED's interface, and batches for it, shared by the tests of training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from maed_jax.body.rotations import matrix_from_6d
from maed_jax.models.cnn import batch_norm
from maed_jax.models.maed import Prediction
from maed_jax.runs.config import defaults
from maed_jax.runs.state import create_state
from maed_jax.training import sharding
from maed_jax.training.optimizer import make_optimizer, make_schedule
from maed_jax.training.step import make_train_step

SIZE = 8


class TinyEncoder(nn.Module):
    clip_length: int
    batch_norm: bool

    @nn.compact
    def __call__(self, clip, train):
        shape = (1, self.clip_length, 32)
        time = self.param("time_embedding", nn.initializers.normal(0.02), shape)
        x = rearrange(clip, "b t h w c -> b t (h w c)") / 10
        # No bias before BatchNorm: its gradient is rounding noise, which Adam turns into steps.
        x = nn.Dense(32, use_bias=not self.batch_norm, name="embedding")(x)
        if self.batch_norm:
            x = batch_norm("bn", train)(x)
        return jnp.tanh(x + time[:, : clip.shape[1]])


class TinyDecoder(nn.Module):
    dropout: float

    @nn.compact
    def __call__(self, feature, train):
        x = nn.Dropout(self.dropout, deterministic=not train)(feature)
        out = nn.Dense(24 * 6 + 10 + 3 + 49 * 3, name="head")(x)
        return jnp.split(out, np.cumsum([24 * 6, 10, 3]), axis=-1)


class TinyModel(nn.Module):
    """Regresses everything from the pixels; ignores the body."""

    image_size: int = SIZE
    clip_length: int = 4
    batch_norm: bool = False
    dropout: float = 0.5

    @nn.compact
    def __call__(self, clip, body, *, train=False, vertices=False):
        feature = TinyEncoder(self.clip_length, self.batch_norm, name="encoder")(clip, train)
        pose6d, shape, camera, points = TinyDecoder(self.dropout, name="decoder")(feature, train)
        rotmat = matrix_from_6d(rearrange(pose6d, "b t (j six) -> b t j six", six=6))
        points = rearrange(points, "b t (k xyz) -> b t k xyz", xyz=3)
        pose = rearrange(pose6d[..., :72], "b t pose -> b t pose")
        return Prediction(camera, pose, shape, rotmat, points, points[..., :2], None, feature)


def labels(rng: np.random.Generator, b: int, t: int) -> dict[str, np.ndarray]:
    """Random labels of `b` clips of `t` frames, as from the pipeline."""

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    ones = np.ones((b, t, 49, 1), np.float32)
    return {
        "image": rng.integers(0, 256, (b, t, SIZE, SIZE, 3), np.uint8),
        "keypoints_2d": np.concatenate([normal(b, t, 49, 2), ones], -1),
        "keypoints_3d": np.concatenate([normal(b, t, 49, 3), ones], -1),
        "pose": normal(b, t, 72),
        "shape": normal(b, t, 10),
        "has_smpl": np.ones((b, t), np.float32),
        "has_3d": np.ones((b,), np.float32),
    }


def batch(step: int, clips: int = 8, images: int = 8) -> dict:
    rng = np.random.default_rng(step)
    return {"clips": labels(rng, clips, 4), "images": labels(rng, images, 1)}


class Batches:
    """An iterator with a state, like Grain's: a batch depends only on its position."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.place += 1
        return batch(self.place)

    def get_state(self):
        return {"place": self.place}

    def set_state(self, state):
        self.place = state["place"]


def config(**optimizer) -> ConfigDict:
    c = defaults()
    c.optimizer.update(optimizer)
    return c


def trainer(c: ConfigDict | None = None, model: nn.Module | None = None, mesh: Mesh | None = None):
    """Returns a new state, whose buffers may be donated, and the step for states on `mesh`.

    The same settings return the same function, so that tests sharing it compile it once.
    """
    state, step = _trainer(FrozenConfigDict(c or config()), model or TinyModel(), mesh)
    return jax.tree.map(jnp.copy, state), step


@functools.cache
def _trainer(c: FrozenConfigDict, model: nn.Module, mesh: Mesh | None):
    clip = jnp.zeros((1, model.clip_length, SIZE, SIZE, 3))
    variables = model.init(jax.random.key(0), clip, None)
    optimizer = make_optimizer(c.optimizer)
    schedule = make_schedule(c.optimizer, 100)
    state = create_state(variables, optimizer, ema=c.ema > 0)
    more = {"accumulate": c.accumulate, "ema": c.ema}
    more["layout"] = sharding.state_shardings(mesh, state) if mesh else None
    return state, make_train_step(model, None, optimizer, schedule, c.loss, **more)
