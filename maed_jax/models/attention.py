"""Multi-head self-attention over space, over time, over both (paper, section 3.2 and figure 3).

Queries, keys and values are `[b t heads n dh]` throughout. A frame is never folded into the batch,
so each of the three attentions is one rearrangement of axes and the same product.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

Mode = Literal["parallel", "series", "coupling", "vanilla", "temporal"]


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Scaled dot-product attention over the last but one axis of `[... n dh]`."""
    scores = jnp.einsum("...qd,...kd->...qk", q * q.shape[-1] ** -0.5, k)
    return jnp.einsum("...qk,...kd->...qd", jax.nn.softmax(scores), v)


def over_space(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """MSA-S: the tokens of a frame attend to one another. `[b t heads n dh]`, as below."""
    return attend(q, k, v)


def over_time(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """MSA-T: a token attends to the tokens at its own place in the other frames."""
    if q.shape[1] == 1:  # an image: the only weight is one
        return v
    q, k, v = (rearrange(a, "b t heads n dh -> b n heads t dh") for a in (q, k, v))
    return rearrange(attend(q, k, v), "b n heads t dh -> b t heads n dh")


def over_space_time(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """MSA-C: every token attends to every token of the clip."""
    t = q.shape[1]
    q, k, v = (rearrange(a, "b t heads n dh -> b heads (t n) dh") for a in (q, k, v))
    return rearrange(attend(q, k, v), "b heads (t n) dh -> b t heads n dh", t=t)


def merge_heads(x: jax.Array) -> jax.Array:
    return rearrange(x, "b t heads n dh -> b t n (heads dh)")


class SpatialTemporalAttention(nn.Module):
    """The attention of one block: tokens `[b t n d]` to `[b t n d]`."""

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        to_qkv = nn.Dense(3 * d, name="qkv")

        def qkv(x):
            return rearrange(
                to_qkv(x),
                "b t n (three heads dh) -> three b t heads n dh",
                three=3,
                heads=self.heads,
            )

        match self.mode:
            case "parallel":
                q, k, v = qkv(x)  # shared by both branches
                y = self.attentive_addition(
                    merge_heads(over_space(q, k, v)), merge_heads(over_time(q, k, v))
                )
            case "series":
                y = merge_heads(over_space(*qkv(x)))
                y = merge_heads(over_time(*qkv(y)))  # the same projection again, as released
            case "coupling":
                y = merge_heads(over_space_time(*qkv(x)))
            case "vanilla":
                y = merge_heads(over_space(*qkv(x)))
            case "temporal":
                # One token a frame; the residual outside broadcasts it back over all of them.
                y = merge_heads(over_time(*qkv(x.mean(axis=2, keepdims=True))))
        return nn.Dense(d, name="proj")(y)

    def attentive_addition(self, space: jax.Array, time: jax.Array) -> jax.Array:
        """Adds the two branches `[b t n d]` by weights that sum to one (equations 4 to 6).

        There is one pair of weights for each frame and channel, shared by the frame's tokens.
        """
        d = space.shape[-1]
        summary = jnp.concatenate([space, time], axis=-1).mean(axis=2)
        gate = rearrange(nn.Dense(2 * d, name="gate")(summary), "b t (d two) -> b t 1 d two", two=2)
        gate = jax.nn.softmax(gate)
        self.sow("intermediates", "gate_weights", gate)  # [..., 0] weighs space, [..., 1] time
        return gate[..., 1] * time + gate[..., 0] * space
