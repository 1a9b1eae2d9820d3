"""The training step to measure: its state, and a batch of noise with all labels."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maed_jax.bench import network
from maed_jax.bench.operations import count
from maed_jax.body.smpl import Body
from maed_jax.compiler_options import for_training
from maed_jax.models.maed import MAED
from maed_jax.runs.state import TrainState, create_state
from maed_jax.training import sharding
from maed_jax.training.optimizer import make_optimizer, make_schedule
from maed_jax.training.step import make_train_step


def step_function(
    config: ConfigDict, model: MAED, body: Body, layout: TrainState | None = None
) -> Callable:
    """Returns the training step of a configuration."""
    optimizer = make_optimizer(config.optimizer)
    schedule = make_schedule(config.optimizer, max(1000, config.optimizer.warmup_steps + 1))
    return make_train_step(model, body, optimizer, schedule, config.loss, layout=layout)


class Step:
    """`jitted(*arguments())` runs the step. It donates `state`: replace it by the returned one.

    Args:
      b, t: clips in the batch, and frames per clip.
      images: additional single images.
    """

    def __init__(self, config: ConfigDict, b: int, t: int, images: int = 0):
        net = network.make(config)
        function = step_function(config, net.model, net.body)
        self.state = create_state(net.variables, make_optimizer(config.optimizer))
        self.batch = {"clips": labels(b, t, net.model.image_size)}
        if images:
            self.batch["images"] = labels(images, 1, net.model.image_size)
        self.key = jax.random.key(4)
        options = for_training(config.model.dim, b * t + images)
        self.jitted = jax.jit(function, donate_argnums=0, compiler_options=options)
        self.count = count(function, *self.arguments())

    def arguments(self) -> tuple:
        return self.state, self.batch, self.key


def abstract(
    config: ConfigDict, mesh: Mesh, clips: int, frames: int, images: int = 0
) -> tuple[Callable, tuple]:
    """Returns the jitted step and its arguments as sharded shapes, enough to compile it.

    Args:
      clips, frames, images: clips per device, frames per clip, and additional images per device.
    """
    model, body = network.model_and_body(config)

    def init(key):
        return create_state(network.init(model, body, key), make_optimizer(config.optimizer))

    key, size = jax.eval_shape(lambda: jax.random.key(4)), config.model.image_size
    state = jax.eval_shape(init, key)
    batch = {"clips": label_shapes(mesh.size * clips, frames, size)}
    if images:
        batch["images"] = label_shapes(mesh.size * images, 1, size)
    layout, whole = sharding.state_shardings(mesh, state), sharding.replicated(mesh)
    across = sharding.batch_sharding(mesh)
    arguments = (
        jax.tree.map(lambda a, s: a.update(sharding=s), state, layout),
        jax.tree.map(lambda a: a.update(sharding=across), batch),
        key.update(sharding=whole),
    )
    function = step_function(config, model, body, layout)
    return jax.jit(function, donate_argnums=0, out_shardings=(layout, whole)), arguments


def label_shapes(b: int, t: int, size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of images and labels of `b` clips of `t` frames, as in the pipeline."""
    shapes = {
        "keypoints_2d": (b, t, 49, 3),
        "keypoints_3d": (b, t, 49, 4),
        "pose": (b, t, 72),
        "shape": (b, t, 10),
        "has_smpl": (b, t),
        "has_3d": (b,),
    }
    image = jax.ShapeDtypeStruct((b, t, size, size, 3), jnp.uint8)
    return {"image": image} | {
        name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()
    }


def labels(b: int, t: int, size: int) -> dict[str, jax.Array]:
    """Returns images and labels of noise; every mask is true."""
    made = {}
    for number, (name, shape) in enumerate(label_shapes(b, t, size).items()):
        key = jax.random.fold_in(jax.random.key(5), number)
        if name == "image":
            made[name] = jax.random.randint(key, shape.shape, 0, 256, jnp.uint8)
        elif name.startswith("has"):
            made[name] = jnp.ones(shape.shape)
        else:
            made[name] = jnp.abs(jax.random.normal(key, shape.shape))  # weights must not be < 0
    return made
