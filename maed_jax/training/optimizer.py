"""The optimiser and its learning rate."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from maed_jax.errors import UserError

READ_OUTS = re.compile(r"joint\d+|pose|shape|camera")  # the last layers of any decoder


def make_optimizer(config) -> optax.GradientTransformation:
    """Adam with L2 added to the gradient (not AdamW), as the original. `config.optimizer`.

    "muon" (Jordan et al., 2024) takes all directions of a matrix alike, at steps scaled to Adam's.
    It is meant for encoders that start from nothing: their features differ little between images
    beside what they share. As its authors advise it moves only the matrices between hidden layers.
    Adam, with Nesterov's momentum, moves the rest: kernels of convolutions, embeddings of places
    and frames, and what reads the pose, the shape and the camera out of a decoder.
    `configs/demo.py` compares the two.

    It gives updates; the step multiplies them by the learning rate, which depends on the step
    alone and so survives skipped steps and resumed runs.

    Raises:
      UserError: no such optimiser.
    """
    if config.name == "adam":
        transform = optax.scale_by_adam()
    elif config.name == "muon":
        muon = optax.contrib.muon(
            1.0, ns_steps=4, consistent_rms=0.2, muon_weight_dimension_numbers=_between_layers
        )
        transform = optax.chain(muon, optax.scale(-1.0))  # its updates point downhill
    else:
        raise UserError(f"config.optimizer.name must be 'adam' or 'muon', not {config.name!r}")
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        optax.add_decayed_weights(config.l2),
        transform,
    )


def _between_layers(params: Any) -> Any:
    """Where Muon applies: how the axes of each parameter are to be read, None for Adam's."""

    def choose(path, value):
        *_, layer, name = "", *(key.key for key in path)
        hidden = name == "kernel" and value.ndim == 2 and not READ_OUTS.fullmatch(layer)
        return optax.contrib.MuonDimensionNumbers() if hidden else None

    return jax.tree.map_with_path(choose, params)


def make_schedule(config, steps: int) -> Callable[[jax.Array], jax.Array]:
    """The learning rate as a function of the step, from 0 to `steps`. `config.optimizer`.

    "step" multiplies by `decay_factor` at each share of the steps in `decay_at`; "cosine" falls to
    zero along half a cosine. `warmup_steps` climb linearly before either.

    Raises:
      UserError: no such schedule, or settings that do not fit it.
    """
    base, warmup = config.learning_rate, config.warmup_steps
    if config.schedule not in ("step", "cosine"):
        raise UserError(
            f"config.optimizer.schedule must be 'step' or 'cosine', not {config.schedule!r}"
        )
    if not 0 <= warmup < max(steps, 1):
        raise UserError(
            f"config.optimizer.warmup_steps must be at least 0 and less than the {steps} steps of "
            f"the run, not {warmup}"
        )
    if not all(0 <= share <= 1 for share in config.decay_at):
        raise UserError(
            f"config.optimizer.decay_at must be shares of the steps, not {config.decay_at}"
        )
    decay_steps = jnp.array([round(share * steps) for share in config.decay_at], jnp.int32)

    def rate(step: jax.Array) -> jax.Array:
        if config.schedule == "step":
            factor = config.decay_factor ** jnp.sum(step >= decay_steps)
        else:
            done = jnp.clip((step - warmup) / (steps - warmup), 0.0, 1.0)
            factor = (1 + jnp.cos(jnp.pi * done)) / 2
        return base * factor * jnp.minimum(1.0, (step + 1) / max(warmup, 1))

    return rate
