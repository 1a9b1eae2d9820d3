"""What training carries from step to step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct


@struct.dataclass
class TrainState:
    """Arrays only; the model and the optimiser stay outside."""

    step: jax.Array
    """int32, steps done"""
    params: Any
    opt_state: Any
    skipped: jax.Array
    """int32, how many steps up to now, in a row, were skipped for want of a finite gradient"""
    batch_stats: Any = struct.field(default_factory=dict)
    """BatchNorm's running means and variances; {} without BatchNorm"""
    ema: Any = struct.field(default_factory=dict)
    """a moving average of `params`; {} where none is kept"""

    @property
    def variables(self) -> dict[str, Any]:
        """What an `Estimator` takes: with the moving average where there is one."""
        return {"params": self.ema or self.params} | (
            {"batch_stats": self.batch_stats} if self.batch_stats else {}
        )

    def starting_from(self, variables: dict[str, Any]) -> TrainState:
        """This state with a model's variables in place of its own."""
        state = self.replace(**variables)
        return state.replace(ema=_copy(state.params)) if self.ema else state


def create_state(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """The state before the first step, from what a model's `init` gives.

    Args:
      ema: whether to keep a moving average of the parameters; it starts from them.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        skipped=jnp.zeros((), jnp.int32),  # not the same array: both are donated to the step
        batch_stats=variables.get("batch_stats", {}),
        ema=_copy(params) if ema else {},
    )


def _copy(params: Any) -> Any:
    return jax.tree.map(jnp.copy, params)
