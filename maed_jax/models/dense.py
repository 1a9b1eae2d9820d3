"""Linear layers over the last axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from maed_jax.models.parameters import Dense


def folded_matmul(x: jax.Array, kernel: jax.Array, **kwargs) -> jax.Array:
    """`[... d] @ [d width]` with the leading axes folded into one.

    With several leading axes, XLA on a CPU transposes both operands for the kernel's gradient.
    Measured there, with gradients: 1.4 times as fast for 1,576 tokens of width 768, and about the
    same gain for small layers.
    """
    dims = (((1,), (0,)), ((), ()))
    flat = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, dims, **kwargs)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])


def dense(width: int, name: str, dtype: jnp.dtype = jnp.float32) -> Dense:
    """Linear layer with bias, `[... d]` to `[... width]`, computed in `dtype`."""

    def dot_general(x, kernel, _, **kwargs):  # Flax always contracts the last axis of x
        return folded_matmul(x, kernel, **kwargs)

    return Dense(width, dtype=dtype, dot_general=dot_general, name=name)
