"""Scaling and inner products as einsums in full float32 precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def full_einsum(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`jnp.einsum` in full float32 precision, regardless of the device's default.

    For inner products, and for scaling, whose gradient consists of them. Written as
    `(a * b).sum()`, some take XLA ten to twenty times as long on a CPU; see docs/tried.md.
    """
    return jnp.einsum(subscripts, a, b, precision=jax.lax.Precision.HIGHEST)
