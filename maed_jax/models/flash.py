"""Flash attention, which never stores its weights: cuDNN's, for bfloat16 on NVIDIA GPUs."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from einops import rearrange

from maed_jax.models.layers import linear

FEWEST_KEYS = 64  # its tiles are too large for attention over the frames of a clip
WIDEST_HEAD = 128  # dimensions per head; Hopper and later support more
OLDEST = 8.0  # compute capability
_enabled = contextvars.ContextVar("flash attention is enabled", default=True)


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Disables it in programs that are traced here but may run on any machine."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


def has_kernel() -> bool:
    """Whether JAX's default device is a GPU for which cuDNN has such a kernel."""
    device = jax.config.jax_default_device or jax.devices()[0]
    if isinstance(device, str):  # the name of a platform
        device = jax.devices(device)[0]
    if device.platform != "gpu" or "NVIDIA" not in device.device_kind:
        return False
    return float(device.compute_capability) >= OLDEST


def fits(k: jax.Array | jax.ShapeDtypeStruct) -> bool:
    """Whether keys `[... n dh]` are supported by the default device, and enough to be worth it."""
    *_, n, dh = k.shape
    possible = k.dtype == jnp.bfloat16 and dh % 8 == 0 and dh <= WIDEST_HEAD
    return possible and n >= FEWEST_KEYS and _enabled.get() and has_kernel()


def flash_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    num_tokens: int | None = None,
    *,
    implementation: str = "cudnn",
) -> jax.Array:
    """Attention of queries `[... heads m dh]` over keys and values `[... heads n dh]`.

    Args:
      num_tokens: queries and keys beyond this number are padding: such keys are not attended to,
        and outputs and gradients of the padding are undefined. By default there is no padding.
      implementation: see `jax.nn.dot_product_attention`.

    Returns:
      The output `[... heads m dh]`.
    """
    leading, m = q.shape[:-3], q.shape[-2]
    n = k.shape[-2] if num_tokens is None else num_tokens
    q, k, v = (_to_cudnn_layout(a) for a in (q, k, v))
    lengths = {}
    if (m, n) != (q.shape[1], k.shape[1]):
        lengths["query_seq_lengths"] = jnp.full(len(q), min(m, n), jnp.int32)
        lengths["key_value_seq_lengths"] = jnp.full(len(q), n, jnp.int32)
    y = jax.nn.dot_product_attention(q, k, v, implementation=implementation, **lengths)
    y = rearrange(y[:, :m], "b m heads dh -> b heads m dh")
    return y.reshape(*leading, *y.shape[1:])


def _to_cudnn_layout(x: jax.Array) -> jax.Array:
    """`[... heads n dh]` as `[b n heads dh]`, n padded to even: odd lengths have no gradient."""
    x = rearrange(x.reshape(-1, *x.shape[-3:]), "b heads n dh -> b n heads dh")
    return jnp.pad(x, [(0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)])


def project(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, num_queries: int | None
) -> tuple[jax.Array, ...]:
    """Projects tokens `[b t n d]` to queries, keys and values for `flash_attention`.

    Each of the three has its own matmul, so that none is copied out of a larger output, and an odd
    n is padded with a token of zeros, so that it need not be padded later.

    Args:
      kernel, bias: `[d 3*d]` and `[3*d]`.
      num_queries: limits the queries to the first tokens of each frame.
    """
    n = x.shape[2]
    x = jnp.pad(x, [(0, 0), (0, 0), (0, n % 2), (0, 0)])
    kernels, biases = jnp.split(kernel, 3, axis=-1), jnp.split(bias, 3)
    projected = map(linear, (x[:, :, :num_queries], x, x), kernels, biases)
    return tuple(_zero_padding_gradient(a, n) for a in projected)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _zero_padding_gradient(x: jax.Array, num_tokens: int) -> jax.Array:
    """Identity on `[b t n d]` whose gradient is zero for padding, the tokens from `num_tokens` on.

    If there is padding, a barrier makes XLA assemble the gradient before any use of it; otherwise
    it transposes the gradient's parts separately for the bias and for each matmul.
    """
    return x


def _zero_padding_gradient_backward(num_tokens: int, _: None, dx: jax.Array) -> tuple[jax.Array]:
    n = dx.shape[2]
    if n <= num_tokens:
        return (dx,)
    dx = jnp.where(jnp.arange(n)[:, None] < num_tokens, dx, 0)
    return (jax.lax.optimization_barrier(dx),)


_zero_padding_gradient.defvjp(lambda x, n: (x, None), _zero_padding_gradient_backward)
