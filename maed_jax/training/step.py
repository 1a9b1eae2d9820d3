"""One step of training: a pure function of state, batch and key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.data.images import normalise
from maed_jax.runs.state import TrainState
from maed_jax.training import sharding
from maed_jax.training.losses import combined_losses, label_counts

# Each kind of batch draws from a stream of its own: their places in this tuple are part of the
# result, append only.
STREAMS = ("clips", "images")

Batch = Mapping[str, Mapping[str, jax.Array]]
Metrics = dict[str, jax.Array]


@jax.custom_jvp
def _of_its_own(params: Any) -> Any:
    """The same parameters, but others as far as XLA sees.

    Of products of two kinds of batch with the same kernel XLA makes one on a GPU, for which it
    copies all tokens of both. Their gradients stay in its sight: it adds them up before it sends
    them to other devices, once for both kinds.
    """
    return jax.lax.optimization_barrier(params)


_of_its_own.defjvp(lambda primals, tangents: (_of_its_own(*primals), *tangents))


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
      accumulate: into how many parts a batch is split, one worked off after the other to save
        memory. Losses and gradients are the batch's but for the loss "norm", which is the mean of
        the parts'. BatchNorm goes by one part at a time.
      ema: decay of the moving average, in a state that has one. In the first steps it is lower,
        (1 + step) / (10 + step), so that the average soon forgets where it started.
      layout: how the state lies on several devices, see `sharding.state_shardings`.
    """
    weights = dict(loss_weights)

    def loss(params: Any, batch_stats: Any, batch: Batch, key: jax.Array, counts: Any):
        predictions = {}
        if layout is not None:
            params = sharding.gathered(params, layout.params)
        for name, labels in batch.items():  # BatchNorm goes by the kinds apart, one after the other
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
        total, terms = combined_losses(predictions, batch, weights, counts)
        return total, (terms, batch_stats)

    def differentiate(params: Any, batch_stats: Any, batch: Batch, key: jax.Array, counts: Any):
        """Gradient, losses and BatchNorm's statistics, of a whole batch or of a part of it."""
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        (total, (terms, batch_stats)), gradient = value_and_grad(
            params, batch_stats, batch, key, counts
        )
        return gradient, {"loss": total, **terms}, batch_stats

    def differentiate_by_parts(
        params: Any, batch_stats: Any, batch: Batch, key: jax.Array, counts: Any
    ):
        """The same of a whole batch, one part of the batch after the other."""
        # Every part takes rows from every device's share: nothing moves between devices.
        parts = jax.tree.map(
            lambda x: rearrange(x, "(b parts) ... -> parts b ...", parts=accumulate), batch
        )

        def add(carry, inputs):
            sums, batch_stats = carry
            number, part = inputs
            *found, batch_stats = differentiate(
                params, batch_stats, part, jax.random.fold_in(key, number), counts
            )
            return (jax.tree.map(jnp.add, sums, found), batch_stats), None

        first = jax.tree.map(lambda x: x[0], parts)
        shapes = jax.eval_shape(differentiate, params, batch_stats, first, key, counts)[:2]
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), list(shapes))
        (sums, batch_stats), _ = jax.lax.scan(
            add, (zeros, batch_stats), (jnp.arange(accumulate), parts)
        )
        return *jax.tree.map(lambda x: x / accumulate, sums), batch_stats

    def train_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        find = differentiate if accumulate == 1 else differentiate_by_parts
        gradient, losses, batch_stats = find(
            state.params, state.batch_stats, batch, key, label_counts(batch, accumulate)
        )
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(losses["loss"]) & jnp.isfinite(norm)
        for leaf in jax.tree.leaves(batch_stats):
            finite &= jnp.isfinite(leaf).all()
        direction, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        rate = schedule(state.step)
        params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
        average = state.ema
        if average:
            decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
            average = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), average, params)

        def if_finite(new, old):
            return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

        metrics = {**losses, "gradient_norm": norm, "learning_rate": rate}
        metrics["skipped"] = jnp.where(finite, 0, state.skipped + 1)
        return TrainState(
            step=state.step + 1,
            params=if_finite(params, state.params),
            opt_state=if_finite(opt_state, state.opt_state),
            skipped=metrics["skipped"],
            batch_stats=if_finite(batch_stats, state.batch_stats),
            ema=if_finite(average, state.ema),
        ), metrics

    return train_step
