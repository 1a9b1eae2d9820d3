"""Attention weights and gates of a model.

maps = attention_maps(estimator, clip, blocks=(5,), heads=(0, 3))
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maed_jax.body.smpl import Body
from maed_jax.data.images import network_input
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.models.encoder import attention_weights
from maed_jax.models.maed import MAED

# The axis of heads in a block's weights, and the axes of keys, over which they sum to one.
_AXES = {"space": (2, -1), "time": (2, -1), "joint": (1, (-2, -1))}


@struct.dataclass
class AttentionMaps:
    """Attention weights of some blocks and heads, for clips of t frames with n tokens each.

    Weights are outputs of a softmax: in [0, 1], summing to one over the keys. The keys are the last
    axis (the last two of `joint`), the queries the one before (the two before). Arrays that the
    model does not have are None.
    """

    space: jax.Array | None
    """`[blocks b t heads n n]`: weight of each token for each token of the same frame"""
    time: jax.Array | None
    """`[blocks b n heads t t]`: weight of each frame for each frame, at the same token"""
    joint: jax.Array | None
    """`[blocks b heads t n t n]` (mode "coupling"): weight of (frame, token) for (frame, token)"""
    gates: jax.Array | None
    """`[blocks b t d]`: weight of time as opposed to space in each channel c of a frame; c belongs
    to head c // (d / heads), counted over all heads of the model"""
    blocks: tuple[int, ...] = struct.field(pytree_node=False)
    """index of each block in the model, from 0"""
    heads: tuple[int, ...] = struct.field(pytree_node=False)
    """index of each head in its block, from 0"""
    encoder: str = struct.field(pytree_node=False)
    mode: str = struct.field(pytree_node=False)
    """of the encoder "ste"; "temporal" for the encoder "te", which attends in the same way"""


def attention_maps(
    estimator: Estimator,
    clip: jax.Array,
    blocks: int | Sequence[int] | None = None,
    heads: int | Sequence[int] | None = None,
) -> AttentionMaps:
    """Returns what the estimator's encoder attends to in clips `[b t h w 3]` (as in `Estimator`).

    Token 0 of a frame is the one that is read out; the others are the patches of the root's grid,
    row by row. In encoder "te" and mode "temporal", each frame is a single token (n = 1). All
    queries of the last block are included, though only token 0's affect the output. For a single
    frame, attention over time is bypassed: its only weight is one. In mode "series", queries and
    keys over time are computed from the output of attention over space. Weights that a model
    computes in bfloat16 are returned in float32, divided by their sum.

    Args:
      blocks: indices from 0, negative ones from the end; None: all.
      heads: likewise.

    Raises:
      UserError: the encoder has no attention or cannot take the clip, or there is no such block
        or head.
    """
    model = estimator.model
    if model.encoder == "cnn":
        raise UserError("the encoder 'cnn' has no attention; choose 'ste' or 'te'")
    blocks = _choose("block", blocks, model.depth)
    heads = _choose("head", heads, model.heads)
    arrays = _record(model, estimator.variables, estimator.body, clip, blocks, heads)
    mode = "temporal" if model.encoder == "te" else model.mode
    return AttentionMaps(**arrays, blocks=blocks, heads=heads, encoder=model.encoder, mode=mode)


@functools.partial(jax.jit, static_argnames=("model", "blocks", "heads"))
def _record(
    model: MAED,
    variables: Any,
    body: Body,
    clip: jax.Array,
    blocks: tuple[int, ...],
    heads: tuple[int, ...],
) -> dict[str, jax.Array | None]:
    clip = network_input(clip)
    _, state = model.apply(variables, clip, body, method="regress", mutable="intermediates")
    all_blocks = attention_weights(state)
    layers = [all_blocks[i] for i in blocks]

    def stack(name: str, head_axis: int, keys: int | tuple[int, int]) -> jax.Array | None:
        if name not in layers[0]:
            return None
        weights = jnp.stack([layer[name].take(jnp.array(heads), head_axis) for layer in layers])
        if weights.dtype == jnp.float32:
            return weights
        weights = weights.astype(jnp.float32)  # in bfloat16 they do not sum to one
        return weights / weights.sum(keys, keepdims=True)

    maps = {name: stack(name, *axes) for name, axes in _AXES.items()}
    gated = "gates" in layers[0]
    gates = jnp.stack([layer["gates"] for layer in layers]) if gated else None
    return maps | {"gates": gates.astype(jnp.float32) if gated else None}


def _choose(what: str, chosen: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Returns the chosen of `count` indices, all from 0."""
    chosen = range(count) if chosen is None else np.atleast_1d(chosen).tolist()
    if not chosen or not all(-count <= i < count for i in chosen):
        raise UserError(f"{what}s run from 0 to {count - 1}, not {list(chosen)}")
    return tuple(int(i) % count for i in chosen)
