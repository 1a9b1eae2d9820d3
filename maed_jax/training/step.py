"""One step of training: a pure function of state, batch and key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.data.images import normalise
from maed_jax.training.losses import combined_losses
from maed_jax.training.state import TrainState

# Each kind of batch draws from a stream of its own: their places in this tuple are part of the
# result, append only.
STREAMS = ("clips", "images")

Batch = Mapping[str, Mapping[str, jax.Array]]
Metrics = dict[str, jax.Array]


def make_train_step(
    model: nn.Module,
    body: Body,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[jax.Array], jax.Array],
    loss_weights: Mapping[str, float],
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]:
    """Returns `train_step(state, batch, key) -> (state, metrics)`.

    Batch: `clips` and `images` or one of them, each with labels (see `maed_jax.data.pipeline`) and
    uint8 `image [b t h w 3]`. Key: the root key; the step folds its number in, so nothing random
    has to be saved. Metrics are scalars on the device.

    Where loss, gradient or BatchNorm's statistics are not finite, parameters, optimiser and
    statistics stay as they were and `skipped` in the state is one more than before; it is among
    the metrics.
    """
    weights = dict(loss_weights)

    def loss(params: Any, batch_stats: Any, batch: Batch, key: jax.Array):
        predictions = {}
        for name, labels in batch.items():  # BatchNorm goes by the kinds apart, one after the other
            predictions[name], updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                normalise(labels["image"]),
                body,
                train=True,
                rngs={"dropout": jax.random.fold_in(key, STREAMS.index(name))},
                mutable=["batch_stats"],
            )
            batch_stats = updated.get("batch_stats", batch_stats)
        total, terms = combined_losses(predictions, batch, weights)
        return total, (terms, batch_stats)

    def train_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        (total, (terms, batch_stats)), gradient = value_and_grad(
            state.params, state.batch_stats, batch, key
        )
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(total) & jnp.isfinite(norm)
        for leaf in jax.tree.leaves(batch_stats):
            finite &= jnp.isfinite(leaf).all()
        direction, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        rate = schedule(state.step)
        params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)

        def if_finite(new, old):
            return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

        metrics = {"loss": total, **terms, "gradient_norm": norm, "learning_rate": rate}
        metrics["skipped"] = jnp.where(finite, 0, state.skipped + 1)
        return TrainState(
            step=state.step + 1,
            params=if_finite(params, state.params),
            opt_state=if_finite(opt_state, state.opt_state),
            skipped=metrics["skipped"],
            batch_stats=if_finite(batch_stats, state.batch_stats),
        ), metrics

    return train_step
