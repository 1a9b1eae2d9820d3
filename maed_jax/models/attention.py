"""Multi-head self-attention over space, time, or both (paper, section 3.2 and figure 3).

Queries, keys and values are `[b t heads n dh]` throughout. Frames are never folded into the batch,
so each of the three kinds of attention is one rearrangement of axes and the same matmuls. There may
be fewer queries than keys: those of the first tokens of each frame.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.models import flash
from maed_jax.models.layers import dense, full_einsum, linear

Mode = Literal["parallel", "parallel_v1", "series", "coupling", "vanilla", "temporal"]
MODES: tuple[str, ...] = get_args(Mode)


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    num_tokens: int | None = None,
    *,
    return_weights: bool = False,
) -> tuple[jax.Array, jax.Array | None]:
    """Scaled dot-product attention over the second to last axis of `[... n dh]`.

    Args:
      num_tokens: queries and keys beyond this number are padding: such keys are not attended to,
        and the outputs of such queries are undefined.
      return_weights: whether the weights are needed; if not, attention is fused where possible.

    Returns:
      The output `[... queries dh]`, and the weights over the keys `[... queries n]`, or None if
      fused.
    """
    if not return_weights and flash.fits(k):
        return flash.flash_attention(q, k, v, num_tokens), None
    return softmax_attention(q, k[..., :num_tokens, :], v[..., :num_tokens, :])


def softmax_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`attention` written out, with its weights.

    The outputs are divided by the sum of the weights, rather than the weights themselves, which are
    larger: on a CPU this takes half the time of a softmax before the matmul with the values.
    """
    q = q * q.shape[-1] ** -0.5  # cheaper than scaling the scores
    scores = _scores(q, k)
    exponentials = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    inverse_sum = 1 / exponentials.sum(axis=-1)
    y = _weighted_sums(exponentials.astype(v.dtype), v)
    y = full_einsum("...qd,...q->...qd", y, inverse_sum.astype(v.dtype))
    return y, (exponentials * inverse_sum[..., None]).astype(v.dtype)


@jax.custom_vjp
def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    """`q @ k.T` in float32; the gradient is computed in the dtype of the queries."""
    return jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32)


def _scores_backward(saved: tuple[jax.Array, jax.Array], dscores: jax.Array):
    q, k = saved
    dscores = dscores.astype(q.dtype)
    return jnp.einsum("...qk,...kd->...qd", dscores, k), _sum_over_queries(dscores, q)


@jax.custom_vjp
def _weighted_sums(weights: jax.Array, v: jax.Array) -> jax.Array:
    """`weights @ v`."""
    return jnp.einsum("...qk,...kd->...qd", weights, v)


def _weighted_sums_backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array):
    weights, v = saved
    return jnp.einsum("...qd,...kd->...qk", dy, v), _sum_over_queries(weights, dy)


_scores.defvjp(lambda q, k: (_scores(q, k), (q, k)), _scores_backward)
_weighted_sums.defvjp(lambda w, v: (_weighted_sums(w, v), (w, v)), _weighted_sums_backward)


def _sum_over_queries(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a.T @ b`: `[... q k]` and `[... q d]` to `[... k d]`.

    XLA on a CPU has fast kernels for many small matrices only without a transposed left operand, so
    there `a` is transposed first. With 10 tokens per frame, a training step of a small network
    takes three quarters of the time (docs/tried.md).
    """

    def transposed_first(a: jax.Array, b: jax.Array) -> jax.Array:
        a = jax.lax.optimization_barrier(jnp.swapaxes(a, -1, -2))  # else XLA merges it again
        return jnp.einsum("...kq,...qd->...kd", a, b)

    def as_it_is(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.einsum("...qk,...qd->...kd", a, b)

    return jax.lax.platform_dependent(a, b, cpu=transposed_first, default=as_it_is)


def over_space(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    num_tokens: int | None = None,
    *,
    return_weights: bool = False,
):
    """MSA-S: a token attends to those of its frame. Weights `[b t heads queries n]`."""
    return attention(q, k, v, num_tokens, return_weights=return_weights)


def over_time(q: jax.Array, k: jax.Array, v: jax.Array, *, return_weights: bool = False):
    """MSA-T: a token attends to those at its position in all frames. Weights `[b n heads t t]`."""
    b, t, heads, n, _ = q.shape
    k, v = k[..., :n, :], v[..., :n, :]
    if t == 1:  # an image: the only weight is 1
        return v, jnp.ones((b, n, heads, 1, 1), v.dtype)
    q, k, v = (rearrange(a, "b t heads n dh -> b n heads t dh") for a in (q, k, v))
    y, weights = attention(q, k, v, return_weights=return_weights)
    return rearrange(y, "b n heads t dh -> b t heads n dh"), weights


def over_space_time(q: jax.Array, k: jax.Array, v: jax.Array, *, return_weights: bool = False):
    """MSA-C: a token attends to every token of the clip. Weights `[b heads t queries t n]`."""
    t = q.shape[1]
    q, k, v = (rearrange(a, "b t heads n dh -> b heads (t n) dh") for a in (q, k, v))
    y, weights = attention(q, k, v, return_weights=return_weights)
    if weights is not None:
        weights = rearrange(weights, "b heads (s q) (t n) -> b heads s q t n", s=t, t=t)
    return rearrange(y, "b heads (t n) dh -> b t heads n dh", t=t), weights


class QueryKeyValue(nn.Module):
    """Projects tokens `[b t n d]` to queries, keys and values `[b t heads n dh]` with one layer.

    `num_queries` limits the queries to the first tokens of each frame; `for_flash`: see
    `flash.project`.
    """

    heads: int

    @nn.compact
    def __call__(
        self, x: jax.Array, num_queries: int | None = None, *, for_flash: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        d = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (d, 3 * d))
        bias = self.param("bias", nn.initializers.zeros, (3 * d,))
        if for_flash:
            q, k, v = flash.project(x, kernel, bias, num_queries)
        elif num_queries is None:
            q, k, v = jnp.split(linear(x, kernel, bias), 3, axis=-1)
        else:
            q = linear(x[:, :, :num_queries], kernel[:, :d], bias[:d])
            k, v = jnp.split(linear(x, kernel[:, d:], bias[d:]), 2, axis=-1)
        q, k, v = (rearrange(a, "b t n (h dh) -> b t h n dh", h=self.heads) for a in (q, k, v))
        return q, k, v


class SpatialTemporalAttention(nn.Module):
    """The attention of one block, from tokens `[b t n d]` to `[b t n d]`.

    `num_queries` limits the output, and thus the cost, to the first tokens of each frame; all
    tokens still serve as keys and values. Mode "temporal" always returns `[b t 1 d]`.

    If the collection "intermediates" is mutable, it receives the weights "space"
    `[b t heads n n]`, "time" `[b n heads t t]` and "joint" `[b heads t n t n]`, those that the mode
    has, and "gates" `[b t d]`, the weight of time; `encoder.attention_weights` reads them.
    """

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array, num_queries: int | None = None) -> jax.Array:
        n, d = x.shape[2:]
        return_weights = self.is_mutable_collection("intermediates")
        keys = jax.ShapeDtypeStruct((n, d // self.heads), x.dtype)
        for_flash = flash.fits(keys) and not return_weights  # for attention over space
        project = QueryKeyValue(self.heads, name="qkv")

        def tokens(name: str, y: jax.Array, weights: jax.Array | None) -> jax.Array:
            self.sow("intermediates", name, weights)
            return merge_heads(y)[:, :, :n]  # without padding

        def space(q, k, v):
            return tokens("space", *over_space(q, k, v, n, return_weights=return_weights))

        def time(q, k, v):
            return tokens("time", *over_time(q, k, v, return_weights=return_weights))

        def space_time(q, k, v):
            return tokens("joint", *over_space_time(q, k, v, return_weights=return_weights))

        match self.mode:
            case "parallel":
                qkv = project(x, for_flash=for_flash)  # all queries: the gate averages over them
                y = self.attentive_addition(space(*qkv), time(*qkv), num_queries)
            case "parallel_v1":
                qkv = project(x, num_queries, for_flash=for_flash)
                y = (space(*qkv) + time(*qkv)) / 2
            case "series":
                y = space(*project(x, num_queries, for_flash=for_flash))
                y = time(*project(y))  # the same projection again, as in the released code
            case "coupling":
                y = space_time(*project(x, num_queries))
            case "vanilla":
                y = space(*project(x, num_queries, for_flash=for_flash))
            case "temporal":
                # One token per frame; the residual connection broadcasts it to all tokens.
                y = time(*project(x.mean(axis=2, keepdims=True)))
        return dense(d, "proj", x.dtype)(y)

    def attentive_addition(
        self, space: jax.Array, time: jax.Array, num_queries: int | None
    ) -> jax.Array:
        """Adds the two branches `[b t n d]` with weights that sum to one (equations 4 to 6).

        Each frame and channel has a pair of weights, shared by all tokens of the frame.
        """
        d = space.shape[-1]
        summary = jnp.concatenate([space.mean(axis=2), time.mean(axis=2)], axis=-1)
        gate = dense(2 * d, "gate", summary.dtype)(summary).astype(jnp.float32)
        gate = rearrange(gate, "b t (d two) -> two b t d", two=2)
        space_gate, time_gate = jax.nn.softmax(gate, axis=0).astype(space.dtype)
        self.sow("intermediates", "gates", time_gate)
        time = full_einsum("btnd,btd->btnd", time[:, :, :num_queries], time_gate)
        return time + full_einsum("btnd,btd->btnd", space[:, :, :num_queries], space_gate)


def merge_heads(x: jax.Array) -> jax.Array:
    return rearrange(x, "b t heads n dh -> b t n (heads dh)")
