"""Layers of the Transformer: linear, norm and activation, in forms that XLA computes fast."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn


def folded_matmul(x: jax.Array, kernel: jax.Array, **kwargs) -> jax.Array:
    """`[... d] @ [d width]` with the leading axes folded into one.

    With several leading axes, XLA on a CPU transposes both operands for the kernel's gradient: a
    block of the paper's network with gradients takes 3 to 4 % longer, a small layer 20 %.
    """
    dims = (((1,), (0,)), ((), ()))
    flat = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, dims, **kwargs)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])


def dense(width: int, name: str, dtype: jnp.dtype = jnp.float32) -> nn.Dense:
    """Linear layer with bias, `[... d]` to `[... width]`, computed in `dtype`."""

    def dot_general(x, kernel, _, **kwargs):  # Flax always contracts the last axis of x
        return folded_matmul(x, kernel, **kwargs)

    return nn.Dense(width, dtype=dtype, dot_general=dot_general, name=name)


def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`x @ kernel + bias` in the dtype of `x`."""
    return folded_matmul(x, kernel.astype(x.dtype)) + bias.astype(x.dtype)


def full_einsum(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`jnp.einsum` in full float32 precision, regardless of the device's default.

    For inner products, and for scaling, whose gradient consists of them. Written as
    `(a * b).sum()`, some take XLA ten to twenty times as long on a CPU; see docs/tried.md.
    """
    return jnp.einsum(subscripts, a, b, precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """Exact GELU, `x` times the standard normal CDF, in the dtype of `x`; computed in float32.

    It uses `erf`, like the original. JAX's own uses `erfc`, which takes twice as long on a CPU and
    is more accurate only where the result is nearly zero. The gradient keeps only `x`: on a CPU
    recomputing the rest takes less time than storing and loading it, and a GPU reads fewer bytes.
    """
    return _gelu_forward(x)[0]


def _gelu_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    x32 = x.astype(jnp.float32)
    return (x32 * _normal_cdf(x32)).astype(x.dtype), x


def _gelu_backward(x: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    x32 = x.astype(jnp.float32)
    density = jnp.exp(-0.5 * x32**2) * (2 * jnp.pi) ** -0.5
    slope = _normal_cdf(x32) + x32 * density
    return ((slope * dy.astype(jnp.float32)).astype(x.dtype),)


def _normal_cdf(x: jax.Array) -> jax.Array:
    return 0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5)


gelu.defvjp(_gelu_forward, _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Normalises `x` `[... d]` over the last axis; `scale` and `bias` are `[d]`.

    Computes in float32 and returns the dtype of `x`. The gradient keeps `x` and two numbers per
    token. Barriers make XLA compute the numbers of each token before their use: otherwise it fuses
    them into every use, and on a GPU writes the float32 terms of the scale's gradient to memory.
    """
    return _layer_norm_forward(x, scale, bias, epsilon)[0]


def _layer_norm_forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float):
    x32 = x.astype(jnp.float32)
    mean = x32.mean(axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(((x32 - mean) ** 2).mean(axis=-1, keepdims=True) + epsilon)
    mean, inverse = jax.lax.optimization_barrier((mean, inverse))
    y = (x32 - mean) * inverse * scale + bias
    return y.astype(x.dtype), (x, scale, mean, inverse)


def _layer_norm_backward(_: float, saved: tuple[jax.Array, ...], dy: jax.Array):
    x, scale, mean, inverse = saved
    d = x.shape[-1]
    x_hat = (x.astype(jnp.float32) - mean) * inverse
    dy = dy.astype(jnp.float32)
    dx_hat = dy * scale
    mean_dx_hat = full_einsum("...d,d->...", dy, scale) / d
    mean_dx_hat_x_hat = full_einsum("...d,...d->...", dx_hat, x_hat) / d
    means = jax.lax.optimization_barrier((mean_dx_hat, mean_dx_hat_x_hat))
    mean_dx_hat, mean_dx_hat_x_hat = (mean[..., None] for mean in means)
    dx = inverse * (dx_hat - mean_dx_hat - x_hat * mean_dx_hat_x_hat)
    x_hat, dy = (a.reshape(-1, d) for a in (x_hat, dy))
    dscale = full_einsum("nd,nd->d", dy, x_hat)
    return dx.astype(x.dtype), dscale, dy.sum(axis=0)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


class LayerNorm(nn.Module):
    """See `layer_norm`."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, d)
        bias = self.param("bias", nn.initializers.zeros, d)
        return layer_norm(x, scale, bias, self.epsilon)
