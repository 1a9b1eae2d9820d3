"""The state that training carries from step to step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct


@struct.dataclass
class TrainState:
    """Only arrays; the model and the optimiser are not part of it."""

    step: jax.Array
    """int32, number of steps done"""
    params: Any
    opt_state: Any
    skipped: jax.Array
    """int32, number of latest steps in a row skipped for lack of a finite gradient"""
    batch_stats: Any = struct.field(default_factory=dict)
    """BatchNorm's running means and variances; {} without BatchNorm"""
    ema: Any = struct.field(default_factory=dict)
    """moving average of `params`; {} without one"""

    @property
    def variables(self) -> dict[str, Any]:
        """The variables for an `Estimator`, with the moving average as parameters if present."""
        return {"params": self.ema or self.params} | (
            {"batch_stats": self.batch_stats} if self.batch_stats else {}
        )

    def starting_from(self, variables: dict[str, Any]) -> TrainState:
        """This state with its variables replaced by `variables`."""
        state = self.replace(**variables)
        return state.replace(ema=_copy(state.params)) if self.ema else state


def create_state(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """The state before the first step, from the output of a model's `init`.

    Args:
      ema: whether to keep a moving average of the parameters, which it starts from.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        skipped=jnp.zeros((), jnp.int32),  # not the array of `step`: both are donated
        batch_stats=variables.get("batch_stats", {}),
        ema=_copy(params) if ema else {},
    )


def _copy(params: Any) -> Any:
    return jax.tree.map(jnp.copy, params)
