"""What JAX compiles for a run: the training step, and the initial state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maed_jax.body.smpl import Body
from maed_jax.compiler_options import Options, for_training, hastily
from maed_jax.models import maed
from maed_jax.runs.state import TrainState, create_state
from maed_jax.training import sharding
from maed_jax.training.optimizer import make_optimizer, make_schedule
from maed_jax.training.step import make_train_step


class Program(NamedTuple):
    """See `make_program`."""

    model: maed.MAED
    step: Any
    """jitted `step.make_train_step`: (state, batch, key) -> state and metrics; donates the state"""
    init: Any
    """jitted; (key) -> the initial state"""
    state: TrainState
    """shapes, dtypes and shardings of a state"""


def make_program(config: ConfigDict, body: Body, mesh: Mesh) -> Program:
    """Builds step and initial state of `config` for the devices of `mesh`; compiles nothing yet.

    Args:
      body: restricted to the vertices that its keypoints need (`smpl.keypoint_body`).
    """
    model, size = maed.MAED(**config.model), config.model.image_size
    optimizer = make_optimizer(config.optimizer)

    def init(key: jax.Array) -> TrainState:
        variables = model.init(key, jnp.zeros((1, 1, size, size, 3)), body)
        return create_state(variables, optimizer, ema=config.ema > 0)

    state = jax.eval_shape(init, jax.random.key(0))
    layout = sharding.state_shardings(mesh, state)
    step = make_train_step(
        model,
        body,
        optimizer,
        make_schedule(config.optimizer, config.steps),
        config.loss,
        accumulate=config.accumulate,
        ema=config.ema,
        layout=layout,
    )
    outputs = (layout, sharding.replicated(mesh))
    return Program(
        model=model,
        step=jax.jit(step, donate_argnames="state", out_shardings=outputs),
        init=jax.jit(init, out_shardings=layout, compiler_options=hastily()),
        state=jax.tree.map(lambda a, s: a.update(sharding=s), state, layout),
    )


def step_options(config: ConfigDict, frames: int, mesh: Mesh) -> Options:
    """Returns XLA's options for a step of `frames` frames in all; see `compiler_options`."""
    return for_training(config.model.dim, frames // mesh.size // config.accumulate)
