"""The optimiser and its learning rate schedule."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from maed_jax.errors import UserError

OUTPUT_LAYERS = re.compile(r"joint\d+|pose|shape|camera")  # the last layers of any decoder


def make_optimizer(config) -> optax.GradientTransformation:
    """Creates the optimiser of `config.optimizer`: by default, as in the original, Adam with L2
    added to the gradient (not AdamW).

    "muon" (Jordan et al., 2024) treats all directions of a matrix equally, with steps scaled to
    Adam's. It is for encoders trained from scratch, whose features differ little between images
    compared to what they have in common. As its authors recommend, it updates only the matrices
    between hidden layers. Adam with Nesterov momentum updates the rest: convolution kernels,
    position and temporal embeddings, and the output layers of a decoder. docs/demo.md compares
    the two.

    It returns updates that are not yet multiplied by the learning rate. The step does this, with a
    rate that depends only on the step number and thus survives skipped steps and resumed runs.

    Raises:
      UserError: no such optimiser.
    """
    if config.name == "adam":
        transform = optax.scale_by_adam()
    elif config.name == "muon":
        muon = optax.contrib.muon(
            1.0, ns_steps=4, consistent_rms=0.2, muon_weight_dimension_numbers=_muon_dimensions
        )
        transform = optax.chain(muon, optax.scale(-1.0))  # its updates have the opposite sign
    else:
        raise UserError(f"config.optimizer.name must be 'adam' or 'muon', not {config.name!r}")
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        optax.add_decayed_weights(config.l2),
        transform,
    )


def _muon_dimensions(params: Any) -> Any:
    """The roles of the axes of each parameter updated by Muon; None for those updated by Adam."""

    def dimensions(path, value):
        *_, layer, name = "", *(key.key for key in path)
        hidden = name == "kernel" and value.ndim == 2 and not OUTPUT_LAYERS.fullmatch(layer)
        return optax.contrib.MuonDimensionNumbers() if hidden else None

    return jax.tree.map_with_path(dimensions, params)


def make_schedule(config, steps: int) -> Callable[[jax.Array], jax.Array]:
    """The learning rate of `config.optimizer` as a function of the step, from 0 to `steps`.

    "step" multiplies by `decay_factor` at each fraction of the steps in `decay_at`; "cosine" decays
    to zero along half a cosine. Both start with a linear warm-up of `warmup_steps`.

    Raises:
      UserError: no such schedule, or settings out of range.
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
    if not all(0 <= fraction <= 1 for fraction in config.decay_at):
        raise UserError(
            f"config.optimizer.decay_at must be fractions of the steps, not {config.decay_at}"
        )
    if config.schedule == "cosine":
        decay = optax.cosine_decay_schedule(base, steps - warmup)
        return lambda step: decay(jnp.maximum(step - warmup, 0)) * _warm_up(step, warmup)
    scales = collections.defaultdict(lambda: 1.0)
    for fraction in config.decay_at:
        scales[round(fraction * steps)] *= config.decay_factor
    decay = optax.piecewise_constant_schedule(base, scales)
    return lambda step: decay(step) * _warm_up(step, warmup)


def _warm_up(step: jax.Array, steps: int) -> jax.Array:
    return jnp.minimum(1.0, (step + 1) / max(steps, 1))
