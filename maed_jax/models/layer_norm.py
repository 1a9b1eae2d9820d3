"""LayerNorm with a custom gradient."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from maed_jax.models.full_einsum import full_einsum
from maed_jax.models.parameters import Module


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Normalises `x` `[... d]` over the last axis; `scale` and `bias` are `[d]`.

    Computes in float32 and returns the dtype of `x`. The gradient keeps `x` and two numbers per
    token. Barriers make XLA compute the numbers of each token before their use: otherwise it fuses
    them into every use, and on a GPU writes the float32 terms of the scale's gradient to memory.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float):
    values = x.astype(jnp.float32)
    mean = values.mean(axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(((values - mean) ** 2).mean(axis=-1, keepdims=True) + epsilon)
    mean, inverse = jax.lax.optimization_barrier((mean, inverse))
    y = (values - mean) * inverse * scale + bias
    return y.astype(x.dtype), (x, scale, mean, inverse)


def _backward(_: float, saved: tuple[jax.Array, ...], gradient: jax.Array):
    x, scale, mean, inverse = saved
    d = x.shape[-1]
    normal = (x.astype(jnp.float32) - mean) * inverse
    given = gradient.astype(jnp.float32)
    alone = full_einsum("...d,d->...", given, scale) / d  # means over d
    along = full_einsum("...d,...d->...", given * scale, normal) / d
    alone, along = jax.lax.optimization_barrier((alone, along))
    of_x = inverse * (given * scale - alone[..., None] - normal * along[..., None])
    normal, given = (a.reshape(-1, d) for a in (normal, given))
    of_scale = full_einsum("nd,nd->d", given, normal)
    return of_x.astype(x.dtype), of_scale, given.sum(axis=0)


layer_norm.defvjp(_forward, _backward)


class LayerNorm(Module):
    """See `layer_norm`."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, d)
        bias = self.param("bias", nn.initializers.zeros, d)
        return layer_norm(x, scale, bias, self.epsilon)
