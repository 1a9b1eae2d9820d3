"""Scaling and inner products, written as products."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def full_einsum(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`jnp.einsum` that multiplies float32 in full, whatever the device does by default.

    For inner products, and for scaling, whose gradient consists of them. Written as `(a * b).sum()`
    some take XLA on a CPU ten to twenty times as long; see docs/tried.md.
    """
    return jnp.einsum(subscripts, a, b, precision=jax.lax.Precision.HIGHEST)
