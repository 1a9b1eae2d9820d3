"""Multi-head self-attention over space, over time, over both (paper, section 3.2 and figure 3).

Queries, keys and values are `[b t heads n dh]` throughout. A frame is never folded into the batch,
so each of the three attentions is one rearrangement of axes and the same product. There may be
fewer queries than keys: those of the first tokens of each frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.models import flash
from maed_jax.models.dense import dense, folded_matmul
from maed_jax.models.full_einsum import full_einsum
from maed_jax.models.parameters import Module

Mode = Literal["parallel", "parallel_v1", "series", "coupling", "vanilla", "temporal"]
MODES: tuple[str, ...] = get_args(Mode)
Attend = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array | None]]


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scaled dot-product attention over the last but one axis of `[... n dh]`.

    The answers are divided by the sum of the weights, instead of the weights, which are more: on a
    CPU that takes half the time of a softmax before the product with the values.

    Returns:
      What each query reads, and its weights over the keys `[... queries n]`. `over_space`,
      `over_time` and `over_space_time` return the same, computed by `attend`.
    """
    q = q * q.shape[-1] ** -0.5  # fewer than the scores are
    scores = _scores(q, k)
    exponentials = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    share = 1 / exponentials.sum(axis=-1)
    y = jnp.einsum("...qk,...kd->...qd", exponentials.astype(v.dtype), v)
    y = full_einsum("...qd,...q->...qd", y, share.astype(v.dtype))
    return y, (exponentials * share[..., None]).astype(v.dtype)


@jax.custom_vjp
def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    """Products of queries and keys in float32; their gradient in the dtype of the queries."""
    return jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32)


def _scores_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array):
    q, k = saved
    gradient = gradient.astype(q.dtype)
    of_q = jnp.einsum("...qk,...kd->...qd", gradient, k)
    return of_q, jnp.einsum("...qk,...qd->...kd", gradient, q)


_scores.defvjp(lambda q, k: (_scores(q, k), (q, k)), _scores_backward)


def attend_unseen(
    q: jax.Array, k: jax.Array, v: jax.Array, tokens: int | None = None
) -> tuple[jax.Array, jax.Array | None]:
    """As `attend`, for callers that do not look at the weights, which may be None.

    Args:
      tokens: keys and queries after the first so many are padding, of which nothing is read and
        whose answers mean nothing.
    """
    if flash.fits(k):
        return flash.flash_attention(q, k, v, tokens), None
    return attend(q, *(a[..., :tokens, :] for a in (k, v)))


def over_space(q: jax.Array, k: jax.Array, v: jax.Array, attend: Attend = attend):
    """MSA-S: the tokens of a frame attend to one another. Weights `[b t heads queries n]`."""
    return attend(q, k, v)


def over_time(q: jax.Array, k: jax.Array, v: jax.Array, attend: Attend = attend):
    """MSA-T: a token attends to those at its own place in all frames. Weights `[b n heads t t]`."""
    b, t, heads, queries, _ = q.shape
    k, v = k[..., :queries, :], v[..., :queries, :]
    if t == 1:  # an image: the only weight is one
        return v, jnp.ones((b, queries, heads, 1, 1), v.dtype)
    q, k, v = (rearrange(a, "b t heads n dh -> b n heads t dh") for a in (q, k, v))
    y, weights = attend(q, k, v)
    return rearrange(y, "b n heads t dh -> b t heads n dh"), weights


def over_space_time(q: jax.Array, k: jax.Array, v: jax.Array, attend: Attend = attend):
    """MSA-C: a token attends to every token of the clip. Weights `[b heads t queries t n]`."""
    t = q.shape[1]
    q, k, v = (rearrange(a, "b t heads n dh -> b heads (t n) dh") for a in (q, k, v))
    y, weights = attend(q, k, v)
    if weights is not None:
        weights = rearrange(weights, "b heads (s q) (t n) -> b heads s q t n", s=t, t=t)
    return rearrange(y, "b heads (t n) dh -> b t heads n dh", t=t), weights


def merge_heads(x: jax.Array) -> jax.Array:
    return rearrange(x, "b t heads n dh -> b t n (heads dh)")


class QueryKeyValue(Module):
    """Projects tokens `[b t n d]` to q, k and v `[b t heads n dh]` by one layer.

    With `queries`, q is made for the first so many tokens of each frame only. With `apart`, each of
    the three is a product of its own, so that none is copied out of a larger one, and n is even, as
    `flash` needs it: where it is odd, a token of zeros is appended first.
    """

    heads: int

    @nn.compact
    def __call__(
        self, x: jax.Array, queries: int | None = None, *, apart: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        tokens, d = x.shape[2:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (d, 3 * d))
        bias = self.param("bias", nn.initializers.zeros, (3 * d,))

        def project(x: jax.Array, columns: slice) -> jax.Array:
            kernel_part, bias_part = (a[..., columns].astype(x.dtype) for a in (kernel, bias))
            return folded_matmul(x, kernel_part) + bias_part

        if apart:
            x = jnp.pad(x, [(0, 0), (0, 0), (0, tokens % 2), (0, 0)])
            inputs = (x[:, :, :queries], x, x)
            parts = (project(a, slice(i * d, (i + 1) * d)) for i, a in enumerate(inputs))
            q, k, v = (_without_padding_gradient(part, tokens) for part in parts)
        elif queries is None:
            q, k, v = jnp.split(project(x, slice(None)), 3, axis=-1)
        else:
            q = project(x[:, :, :queries], slice(d))
            k, v = jnp.split(project(x, slice(d, None)), 2, axis=-1)
        q, k, v = (rearrange(a, "b t n (h dh) -> b t h n dh", h=self.heads) for a in (q, k, v))
        return q, k, v


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _without_padding_gradient(x: jax.Array, tokens: int) -> jax.Array:
    """`[b t n d]` as it is. Tokens after the first so many are padding and have no gradient.

    Where there are such, a barrier has the gradient put together before anything takes it:
    otherwise XLA transposes its parts separately for the bias and for each product.
    """
    return x


def _without_padding_gradient_backward(
    tokens: int, _: None, gradient: jax.Array
) -> tuple[jax.Array]:
    n = gradient.shape[2]
    if n <= tokens:
        return (gradient,)
    gradient = jnp.where(jnp.arange(n)[:, None] < tokens, gradient, 0)
    return (jax.lax.optimization_barrier(gradient),)


_without_padding_gradient.defvjp(lambda x, tokens: (x, None), _without_padding_gradient_backward)


class SpatialTemporalAttention(nn.Module):
    """The attention of one block: tokens `[b t n d]` to `[b t n d]`.

    With `queries`, it answers for the first so many tokens of each frame only, and costs less
    accordingly: all tokens are still keys and values. Mode "temporal" always answers `[b t 1 d]`.

    Where the collection "intermediates" is mutable, it is left the weights "space"
    `[b t heads n n]`, "time" `[b n heads t t]` and "joint" `[b heads t n t n]`, as far as the mode
    has them, and "gates" `[b t d]`, time's share; `encoder.attention_seen` reads them.
    """

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array, queries: int | None = None) -> jax.Array:
        qkv = QueryKeyValue(self.heads, name="qkv")
        tokens = x.shape[2]
        # Attention over space may be fused, but not where someone looks at its weights.
        keys = jax.ShapeDtypeStruct((tokens, x.shape[3] // self.heads), x.dtype)
        apart = flash.fits(keys) and not self.is_mutable_collection("intermediates")
        read_space = functools.partial(self.read, "space", over_space, tokens=tokens)
        read_time = functools.partial(self.read, "time", over_time)
        match self.mode:
            case "parallel":
                # Shared by both branches; for all tokens, as the gate averages over them.
                parts = qkv(x, apart=apart)
                space, time = (read(parts)[:, :, :tokens] for read in (read_space, read_time))
                y = self.attentive_addition(space, time, queries)
            case "parallel_v1":
                parts = qkv(x, queries, apart=apart)
                y = ((read_space(parts) + read_time(parts)) / 2)[:, :, :tokens]
            case "series":
                y = read_space(qkv(x, queries, apart=apart))[:, :, :tokens]
                y = read_time(qkv(y))  # the same projection again, as released
            case "coupling":
                y = self.read("joint", over_space_time, qkv(x, queries))
            case "vanilla":
                y = read_space(qkv(x, queries, apart=apart))[:, :, :tokens]
            case "temporal":
                # One token a frame; the residual outside broadcasts it back over all of them.
                y = read_time(qkv(x.mean(axis=2, keepdims=True)))
        return dense(x.shape[-1], "proj", x.dtype)(y)

    def read(
        self,
        name: str,
        over: Callable,
        qkv: tuple[jax.Array, ...],
        tokens: int | None = None,
    ) -> jax.Array:
        """What the queries read `[b t queries d]`; their weights are left under `name`.

        Args:
          tokens: see `attend_unseen`.
        """
        observed = self.is_mutable_collection("intermediates")
        unseen = functools.partial(attend_unseen, tokens=tokens)
        y, weights = over(*qkv, attend if observed else unseen)
        self.sow("intermediates", name, weights)
        return merge_heads(y)

    def attentive_addition(
        self, space: jax.Array, time: jax.Array, queries: int | None
    ) -> jax.Array:
        """Adds the two branches `[b t n d]` by weights that sum to one (equations 4 to 6).

        There is one pair of weights for each frame and channel, shared by the frame's tokens.
        """
        d = space.shape[-1]
        summary = jnp.concatenate([space.mean(axis=2), time.mean(axis=2)], axis=-1)
        gate = dense(2 * d, "gate", summary.dtype)(summary).astype(jnp.float32)
        gate = rearrange(gate, "b t (d two) -> two b t d", two=2)
        of_space, of_time = jax.nn.softmax(gate, axis=0).astype(space.dtype)
        self.sow("intermediates", "gates", of_time)
        time = full_einsum("btnd,btd->btnd", time[:, :, :queries], of_time)
        return time + full_einsum("btnd,btd->btnd", space[:, :, :queries], of_space)
