"""Flash attention, which never stores its weights: cuDNN's, for bfloat16 on NVIDIA GPUs."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from einops import rearrange

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
    tokens: int | None = None,
    *,
    implementation: str = "cudnn",
) -> jax.Array:
    """Attention of queries `[... heads m dh]` over keys and values `[... heads n dh]`.

    Args:
      tokens: queries and keys beyond this number are padding: such keys are not attended to, and
        outputs and gradients of the padding are undefined. By default there is no padding.
      implementation: see `jax.nn.dot_product_attention`.

    Returns:
      The output `[... heads m dh]`.
    """
    leading, m = q.shape[:-3], q.shape[-2]
    tokens = k.shape[-2] if tokens is None else tokens
    q, k, v = (_as_cudnn_takes_it(a) for a in (q, k, v))
    lengths = {}
    if (m, tokens) != (q.shape[1], k.shape[1]):
        lengths["query_seq_lengths"] = jnp.full(len(q), min(m, tokens), jnp.int32)
        lengths["key_value_seq_lengths"] = jnp.full(len(q), tokens, jnp.int32)
    y = jax.nn.dot_product_attention(q, k, v, implementation=implementation, **lengths)
    y = rearrange(y[:, :m], "b m heads dh -> b heads m dh")
    return y.reshape(*leading, *y.shape[1:])


def _as_cudnn_takes_it(x: jax.Array) -> jax.Array:
    """`[... heads n dh]` as `[b n heads dh]`, n padded to even: odd lengths have no gradient."""
    x = rearrange(x.reshape(-1, *x.shape[-3:]), "b heads n dh -> b n heads dh")
    return jnp.pad(x, [(0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)])
