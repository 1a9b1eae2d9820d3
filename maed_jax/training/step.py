"""The training step: a pure function of state, batch and key."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.data.images import normalise
from maed_jax.models.maed import Prediction
from maed_jax.runs.state import TrainState
from maed_jax.training import sharding
from maed_jax.training.losses import combined_losses, label_counts

# Each kind of data has its own random stream. Positions in this tuple affect results: append only.
STREAMS = ("clips", "images")

Batch = Mapping[str, Mapping[str, jax.Array]]
Metrics = dict[str, jax.Array]


def make_train_step(
    model: nn.Module,
    body: Body,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[jax.Array], jax.Array],
    loss_weights: Mapping[str, float],
    *,
    accumulate: int = 1,
    ema: float = 0.0,
    layout: TrainState | None = None,
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]:
    """Returns `train_step(state, batch, key) -> (state, metrics)`.

    `batch` has `clips`, `images` or both, each with labels (see `maed_jax.data.pipeline`) and uint8
    `image [b t h w 3]`. `key` is the root key; the step number is folded in, so that no random
    state needs to be saved. Metrics are scalars on the device.

    If loss, gradient or BatchNorm's statistics are not finite, parameters, optimiser and statistics
    stay unchanged and `skipped`, in the state and the metrics, increases by one.

    Args:
      accumulate: number of parts that a batch is split into, processed one after the other to save
        memory. Losses and gradients are those of the batch, except that the loss "norm" is the mean
        over the parts. BatchNorm normalises each part separately.
      ema: decay of the moving average, if the state has one. In the first steps it is lower,
        (1 + step) / (10 + step), so that the average soon forgets its initial value.
      layout: shardings of the state on several devices, see `sharding.state_shardings`.
    """

    def loss_fn(params: Any, batch_stats: Any, batch: Batch, key: jax.Array, counts: Any):
        """Returns the total, and as auxiliary output the losses and BatchNorm's statistics."""
        if layout is not None:  # all-gather parameters that are sharded over `fsdp` devices
            params = sharding.gathered(params, layout.params)
        predictions, batch_stats = apply_model(model, body, params, batch_stats, batch, key)
        total, terms = combined_losses(predictions, batch, loss_weights, counts)
        return total, ({"loss": total, **terms}, batch_stats)

    def train_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        grad_fn = functools.partial(
            jax.grad(loss_fn, has_aux=True), state.params, counts=label_counts(batch, accumulate)
        )
        gradient, losses, batch_stats = accumulate_gradients(
            grad_fn, state.batch_stats, batch, key, accumulate
        )
        rate = schedule(state.step)  # not part of the optimiser, whose count stops at skipped steps
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.tree.add_scale(state.params, -rate, updates)
        updated = state.replace(
            params=params,
            opt_state=opt_state,
            batch_stats=batch_stats,
            ema=moving_average(state, params, ema) if state.ema else state.ema,
        )
        norm = optax.tree.norm(gradient)
        finite = all_finite((losses["loss"], norm, batch_stats))
        skipped = jnp.where(finite, 0, state.skipped + 1)
        metrics = {**losses, "gradient_norm": norm, "learning_rate": rate, "skipped": skipped}
        state = optax.tree.where(finite, updated, state)
        return state.replace(step=state.step + 1, skipped=skipped), metrics

    return train_step


def apply_model(
    model: nn.Module, body: Body, params: Any, batch_stats: Any, batch: Batch, key: jax.Array
) -> tuple[dict[str, Prediction], Any]:
    """Returns predictions for each kind of data, and the updated BatchNorm statistics.

    BatchNorm normalises clips and images separately, one after the other.
    """
    predictions = {}
    for name, labels in batch.items():
        params = _unshared(params)
        predictions[name], updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            normalise(labels["image"]),
            body,
            train=True,
            rngs={"dropout": jax.random.fold_in(key, STREAMS.index(name))},
            mutable=["batch_stats"],
        )
        batch_stats = updated.get("batch_stats", batch_stats)
    return predictions, batch_stats


@jax.custom_jvp
def _unshared(params: Any) -> Any:
    """The same parameters, but XLA treats them as different.

    Otherwise it would merge the matmuls of clips and images with the same kernel into one, for
    which it copies all their tokens on a GPU. Gradients are not affected: XLA still adds those of
    both before sending them to other devices.
    """
    return jax.lax.optimization_barrier(params)


_unshared.defjvp(lambda primals, tangents: (_unshared(*primals), *tangents))


def accumulate_gradients(
    grad_fn: Callable[..., tuple[Any, tuple[Metrics, Any]]],
    batch_stats: Any,
    batch: Batch,
    key: jax.Array,
    parts: int,
) -> tuple[Any, Metrics, Any]:
    """Gradient and losses, each the mean over equal parts of a batch, and BatchNorm's statistics.

    Args:
      grad_fn: maps statistics, a part and a key to the gradient and, as auxiliary output,
        losses and statistics. Each part continues from the statistics of the previous one.
    """
    if parts == 1:
        gradient, (losses, batch_stats) = grad_fn(batch_stats, batch, key)
        return gradient, losses, batch_stats
    # Every part has rows from every device, so that nothing moves between devices.
    batch = jax.tree.map(lambda x: rearrange(x, "(b parts) ... -> parts b ...", parts=parts), batch)

    def add(carry, inputs):
        sums, batch_stats = carry
        number, part = inputs
        gradient, (losses, batch_stats) = grad_fn(
            batch_stats, part, jax.random.fold_in(key, number)
        )
        return (jax.tree.map(jnp.add, sums, (gradient, losses)), batch_stats), None

    first = jax.tree.map(lambda x: x[0], batch)
    gradient, (losses, _) = jax.eval_shape(grad_fn, batch_stats, first, key)
    zeros = optax.tree.zeros_like((gradient, losses))
    (sums, batch_stats), _ = jax.lax.scan(add, (zeros, batch_stats), (jnp.arange(parts), batch))
    return *optax.tree.scale(1 / parts, sums), batch_stats


def moving_average(state: TrainState, params: Any, decay: float) -> Any:
    """Updates the average of `state`. It decays faster at first, to forget its initial value."""
    decay = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    return optax.incremental_update(params, state.ema, 1 - decay)


def all_finite(tree: Any) -> jax.Array:
    """Whether no number in `tree` is infinite or NaN."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))
