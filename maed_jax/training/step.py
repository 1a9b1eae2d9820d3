"""One step of training: a pure function of state, batch and key."""

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
    *,
    accumulate: int = 1,
    ema: float = 0.0,
    layout: TrainState | None = None,
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]:
    """Returns `train_step(state, batch, key) -> (state, metrics)`.

    Batch: `clips` and `images` or one of them, each with labels (see `maed_jax.data.pipeline`) and
    uint8 `image [b t h w 3]`. Key: the root key; the step folds its number in, so nothing random
    has to be saved. Metrics are scalars on the device.

    Where loss, gradient or BatchNorm's statistics are not finite, parameters, optimiser and
    statistics stay as they were and `skipped` in the state is one more than before; it is among
    the metrics.

    Args:
      accumulate: into how many parts a batch is split, processed one after the other to save
        memory. Losses and gradients are the batch's but for the loss "norm", which is the mean of
        the parts'. BatchNorm goes by one part at a time.
      ema: decay of the moving average, in a state that has one. In the first steps it is lower,
        (1 + step) / (10 + step), so that the average soon forgets where it started.
      layout: how the state lies on several devices, see `sharding.state_shardings`.
    """

    def losses(params: Any, batch_stats: Any, batch: Batch, key: jax.Array, counts: Any):
        """The total; the losses by name and BatchNorm's statistics."""
        if layout is not None:
            params = sharding.gathered(params, layout.params)
        predictions, batch_stats = predict(model, body, params, batch_stats, batch, key)
        total, terms = combined_losses(predictions, batch, loss_weights, counts)
        return total, ({"loss": total, **terms}, batch_stats)

    def train_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        differentiate = functools.partial(
            jax.grad(losses, has_aux=True), state.params, counts=label_counts(batch, accumulate)
        )
        gradient, found, batch_stats = accumulate_gradients(
            differentiate, state.batch_stats, batch, key, accumulate
        )
        rate = schedule(state.step)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.tree.add_scale(state.params, -rate, updates)
        learned = state.replace(
            params=params,
            opt_state=opt_state,
            batch_stats=batch_stats,
            ema=moving_average(state, params, ema) if state.ema else state.ema,
        )
        norm = optax.tree.norm(gradient)
        finite = all_finite((found["loss"], norm, batch_stats))
        skipped = jnp.where(finite, 0, state.skipped + 1)
        metrics = {**found, "gradient_norm": norm, "learning_rate": rate, "skipped": skipped}
        state = optax.tree.where(finite, learned, state)
        return state.replace(step=state.step + 1, skipped=skipped), metrics

    return train_step


def predict(
    model: nn.Module, body: Body, params: Any, batch_stats: Any, batch: Batch, key: jax.Array
) -> tuple[dict[str, Prediction], Any]:
    """Predictions for each kind of batch, and BatchNorm's statistics after them.

    BatchNorm goes by the kinds apart, one after the other.
    """
    predictions = {}
    for name, labels in batch.items():
        params = _of_its_own(params)
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
def _of_its_own(params: Any) -> Any:
    """The same parameters, but others as far as XLA sees.

    XLA would merge the products of both kinds of batch with the same kernel into one, for which it
    copies all tokens of both on a GPU. Their gradients stay in its sight: it adds them up before it
    sends them to other devices, once for both kinds.
    """
    return jax.lax.optimization_barrier(params)


_of_its_own.defjvp(lambda primals, tangents: (_of_its_own(*primals), *tangents))


def accumulate_gradients(
    differentiate: Callable[..., tuple[Any, tuple[Metrics, Any]]],
    batch_stats: Any,
    batch: Batch,
    key: jax.Array,
    parts: int,
) -> tuple[Any, Metrics, Any]:
    """Gradient and losses, each the mean over equal parts of a batch, and BatchNorm's statistics.

    Args:
      differentiate: gives the gradient, and the losses and the statistics beside it, from
        statistics, a part and a key. A part goes on from the statistics of the one before.
    """
    if parts == 1:
        gradient, (losses, batch_stats) = differentiate(batch_stats, batch, key)
        return gradient, losses, batch_stats
    # Every part takes rows from every device's share: nothing moves between devices.
    batch = jax.tree.map(lambda x: rearrange(x, "(b parts) ... -> parts b ...", parts=parts), batch)

    def add(carry, inputs):
        sums, batch_stats = carry
        number, part = inputs
        gradient, (losses, batch_stats) = differentiate(
            batch_stats, part, jax.random.fold_in(key, number)
        )
        return (jax.tree.map(jnp.add, sums, (gradient, losses)), batch_stats), None

    first = jax.tree.map(lambda x: x[0], batch)
    gradient, (losses, _) = jax.eval_shape(differentiate, batch_stats, first, key)
    zeros = optax.tree.zeros_like((gradient, losses))
    (sums, batch_stats), _ = jax.lax.scan(add, (zeros, batch_stats), (jnp.arange(parts), batch))
    return *optax.tree.scale(1 / parts, sums), batch_stats


def moving_average(state: TrainState, params: Any, decay: float) -> Any:
    """The average of `state` a step on. At first it decays faster, to forget where it started."""
    decay = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    return optax.incremental_update(params, state.ema, 1 - decay)


def all_finite(tree: Any) -> jax.Array:
    """Whether no number in it is infinite or NaN."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))
