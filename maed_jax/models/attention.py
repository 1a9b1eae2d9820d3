"""Multi-head self-attention over space, time, or both (paper, section 3.2 and figure 3).

Queries, keys and values are `[b t heads n dh]` throughout. Frames are never folded into the batch,
so each of the three kinds of attention is one rearrangement of axes and the same matmuls. There may
be fewer queries than keys: those of the first tokens of each frame.
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
    """Scaled dot-product attention over the second to last axis of `[... n dh]`.

    For `[b t heads n dh]` this is attention over space (MSA-S): the tokens of a frame attend to one
    another. The outputs are divided by the sum of the weights, rather than the weights themselves,
    which are larger: on a CPU this takes half the time of a softmax before the matmul with the
    values.

    Returns:
      The output `[... queries dh]`, and the weights over the keys `[... queries n]`.
    """
    q = q * q.shape[-1] ** -0.5  # cheaper than scaling the scores
    scores = _scores(q, k)
    exponentials = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    inverse_sum = 1 / exponentials.sum(axis=-1)
    y = jnp.einsum("...qk,...kd->...qd", exponentials.astype(v.dtype), v)
    y = full_einsum("...qd,...q->...qd", y, inverse_sum.astype(v.dtype))
    return y, (exponentials * inverse_sum[..., None]).astype(v.dtype)


@jax.custom_vjp
def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    """`q @ k.T` in float32; the gradient is computed in the dtype of the queries."""
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
    """Like `attend`, for callers that do not use the weights, which may be None.

    Args:
      tokens: queries and keys beyond this number are padding: such keys are not attended to, and
        the outputs of such queries are undefined.
    """
    if flash.fits(k):
        return flash.flash_attention(q, k, v, tokens), None
    return attend(q, *(a[..., :tokens, :] for a in (k, v)))


def over_time(q: jax.Array, k: jax.Array, v: jax.Array, attend: Attend):
    """MSA-T: a token attends to those at its position in all frames. Weights `[b n heads t t]`."""
    b, t, heads, queries, _ = q.shape
    k, v = k[..., :queries, :], v[..., :queries, :]
    if t == 1:  # an image: the only weight is 1
        return v, jnp.ones((b, queries, heads, 1, 1), v.dtype)
    q, k, v = (rearrange(a, "b t heads n dh -> b n heads t dh") for a in (q, k, v))
    y, weights = attend(q, k, v)
    return rearrange(y, "b n heads t dh -> b t heads n dh"), weights


def over_space_time(q: jax.Array, k: jax.Array, v: jax.Array, attend: Attend):
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
    """Projects tokens `[b t n d]` to q, k and v `[b t heads n dh]` with one layer.

    `queries` limits q to the first tokens of each frame. With `separate`, each of the three has its
    own matmul, so that none is copied out of a larger output, and an odd n is padded with a token
    of zeros, because `flash` needs an even number.
    """

    heads: int

    @nn.compact
    def __call__(
        self, x: jax.Array, queries: int | None = None, *, separate: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        tokens, d = x.shape[2:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (d, 3 * d))
        bias = self.param("bias", nn.initializers.zeros, (3 * d,))

        def project(x: jax.Array, columns: slice) -> jax.Array:
            kernel_part, bias_part = (a[..., columns].astype(x.dtype) for a in (kernel, bias))
            return folded_matmul(x, kernel_part) + bias_part

        if separate:
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
    """Identity on `[b t n d]` whose gradient is zero for padding, from token number `tokens` on.

    If there is padding, a barrier makes XLA assemble the gradient before any use of it; otherwise
    it transposes the gradient's parts separately for the bias and for each matmul.
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
    """The attention of one block, from tokens `[b t n d]` to `[b t n d]`.

    `queries` limits the output, and thus the cost, to the first tokens of each frame; all tokens
    still serve as keys and values. Mode "temporal" always returns `[b t 1 d]`.

    If the collection "intermediates" is mutable, it receives the weights "space"
    `[b t heads n n]`, "time" `[b n heads t t]` and "joint" `[b heads t n t n]`, those that the mode
    has, and "gates" `[b t d]`, the weight of time; `encoder.attention_seen` reads them.
    """

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array, queries: int | None = None) -> jax.Array:
        qkv = QueryKeyValue(self.heads, name="qkv")
        tokens = x.shape[2]
        # Attention over space may be fused, but not if its weights are requested.
        keys = jax.ShapeDtypeStruct((tokens, x.shape[3] // self.heads), x.dtype)
        observed = self.is_mutable_collection("intermediates")
        separate = flash.fits(keys) and not observed
        over_space = attend if observed else functools.partial(attend_unseen, tokens=tokens)
        attend_along = attend if observed else attend_unseen

        def read_space(qkv: tuple[jax.Array, ...]) -> jax.Array:
            return self.answer("space", *over_space(*qkv))

        def read_time(qkv: tuple[jax.Array, ...]) -> jax.Array:
            return self.answer("time", *over_time(*qkv, attend_along))

        match self.mode:
            case "parallel":
                # Shared by both branches; of all tokens, because the gate averages over them.
                parts = qkv(x, separate=separate)
                space, time = (read(parts)[:, :, :tokens] for read in (read_space, read_time))
                y = self.attentive_addition(space, time, queries)
            case "parallel_v1":
                parts = qkv(x, queries, separate=separate)
                y = ((read_space(parts) + read_time(parts)) / 2)[:, :, :tokens]
            case "series":
                y = read_space(qkv(x, queries, separate=separate))[:, :, :tokens]
                y = read_time(qkv(y))  # the same projection again, as in the released code
            case "coupling":
                y = self.answer("joint", *over_space_time(*qkv(x, queries), attend_along))
            case "vanilla":
                y = read_space(qkv(x, queries, separate=separate))[:, :, :tokens]
            case "temporal":
                # One token per frame; the residual connection broadcasts it to all tokens.
                y = read_time(qkv(x.mean(axis=2, keepdims=True)))
        return dense(x.shape[-1], "proj", x.dtype)(y)

    def answer(self, name: str, y: jax.Array, weights: jax.Array | None) -> jax.Array:
        """The attention's output as tokens `[b t queries d]`; stores the weights as `name`."""
        self.sow("intermediates", name, weights)
        return merge_heads(y)

    def attentive_addition(
        self, space: jax.Array, time: jax.Array, queries: int | None
    ) -> jax.Array:
        """Adds the two branches `[b t n d]` with weights that sum to one (equations 4 to 6).

        Each frame and channel has a pair of weights, shared by all tokens of the frame.
        """
        d = space.shape[-1]
        summary = jnp.concatenate([space.mean(axis=2), time.mean(axis=2)], axis=-1)
        gate = dense(2 * d, "gate", summary.dtype)(summary).astype(jnp.float32)
        gate = rearrange(gate, "b t (d two) -> two b t d", two=2)
        of_space, of_time = jax.nn.softmax(gate, axis=0).astype(space.dtype)
        self.sow("intermediates", "gates", of_time)
        time = full_einsum("btnd,btd->btnd", time[:, :, :queries], of_time)
        return time + full_einsum("btnd,btd->btnd", space[:, :, :queries], of_space)
