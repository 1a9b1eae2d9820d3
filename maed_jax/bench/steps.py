"""The training step to measure: its state, and a batch of noise with all labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maed_jax.bench import network
from maed_jax.bench.operations import count
from maed_jax.training import sharding
from maed_jax.training.program import make_program, step_options


class Step:
    """`jitted(*arguments())` runs the step. It donates `state`: replace it by the returned one.

    Args:
      b, t: clips in the batch, and frames per clip.
      images: additional single images.
    """

    def __init__(self, config: ConfigDict, b: int, t: int, images: int = 0):
        mesh, size = sharding.make_mesh(1, 1), config.model.image_size
        program = make_program(config, network.model_and_body(config)[1], mesh)
        self.state, self.key = program.init(jax.random.key(0)), jax.random.key(4)
        self.batch = {"clips": labels(b, t, size)}
        if images:
            self.batch["images"] = labels(images, 1, size)
        self.jitted = program.step
        self.options = step_options(config, b * t + images, mesh)
        self.count = count(self.jitted, *self.arguments())

    def arguments(self) -> tuple:
        return self.state, self.batch, self.key


def abstract(
    config: ConfigDict, mesh: Mesh, clips: int, frames: int, images: int = 0
) -> tuple[Any, tuple]:
    """Returns the jitted step and its arguments as sharded shapes, enough to compile it.

    Args:
      clips, frames, images: clips per device, frames per clip, and additional images per device.
    """
    program = make_program(config, network.model_and_body(config)[1], mesh)
    key, size = jax.eval_shape(lambda: jax.random.key(4)), config.model.image_size
    batch = {"clips": label_shapes(mesh.size * clips, frames, size)}
    if images:
        batch["images"] = label_shapes(mesh.size * images, 1, size)
    over_devices = sharding.batch_sharding(mesh)
    batch = jax.tree.map(lambda a: a.update(sharding=over_devices), batch)
    return program.step, (program.state, batch, key.update(sharding=sharding.replicated(mesh)))


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
    arrays = {}
    for number, (name, shape) in enumerate(label_shapes(b, t, size).items()):
        key = jax.random.fold_in(jax.random.key(5), number)
        if name == "image":
            arrays[name] = jax.random.randint(key, shape.shape, 0, 256, jnp.uint8)
        elif name.startswith("has"):
            arrays[name] = jnp.ones(shape.shape)
        else:
            arrays[name] = jnp.abs(jax.random.normal(key, shape.shape))  # weights must not be < 0
    return arrays
