"""What a model attends to: its attention weights and gates, and a file that keeps them.

    maps = attention_maps(estimator, clip, blocks=(5,), heads=(0, 3))
    save_attention_maps(maps, "walk.npz")

docs/model.md explains the file to users.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maed_jax.body.smpl import Body
from maed_jax.data.images import network_input
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.files.formats import check_format
from maed_jax.files.numpy import check_axes, open_npz
from maed_jax.files.whole import whole_file
from maed_jax.models.encoder import attention_seen
from maed_jax.models.maed import MAED

FORMAT = 1  # raised when a reader of older files would go wrong
AXES = {
    "space": "blocks b t heads n n",
    "time": "blocks b n heads t t",
    "joint": "blocks b heads t n t n",
    "gates": "blocks b t d",
}
_KEYS = {"space": -1, "time": -1, "joint": (-2, -1)}  # the axes over which weights sum to one
_TOLERANCE = 1e-3  # by which they may miss it


@struct.dataclass
class AttentionMaps:
    """The attention weights of some blocks and heads for clips of t frames of n tokens.

    Weights come from softmax: they are in [0, 1] and sum to one over the keys. An array is None
    where the model has no such attention. Axes in order; the last (two) are the keys:
    """

    space: jax.Array | None
    """`[blocks b t heads n n]` within a frame: weight of token (last) for token (last but one)"""
    time: jax.Array | None
    """`[blocks b n heads t t]` between frames at one place: weight of frame for frame"""
    joint: jax.Array | None
    """`[blocks b heads t n t n]` coupling: weight of (frame, token) for (frame, token)"""
    gates: jax.Array | None
    """`[blocks b t d]` the share of time against space in a frame's channels; head = c // (d/heads)
    over all heads of the model"""
    blocks: tuple[int, ...] = struct.field(pytree_node=False)
    """the number of each block in the model, from 0"""
    heads: tuple[int, ...] = struct.field(pytree_node=False)
    """the number of each head in its block, from 0"""
    encoder: str = struct.field(pytree_node=False)
    mode: str = struct.field(pytree_node=False)
    """of the encoder "ste" ("te" attends as its mode "temporal")"""


def attention_maps(
    estimator: Estimator,
    clip: jax.Array,
    blocks: int | Sequence[int] | None = None,
    heads: int | Sequence[int] | None = None,
) -> AttentionMaps:
    """What the estimator's encoder attends to in clips `[b t h w 3]`, as `Estimator` takes.

    Token 0 of a frame is the one that is read in the end; the others are the patches of the root's
    grid, row by row. One token stands for a frame in encoder "te" and in mode "temporal" (n = 1).
    Of the last block, all queries are given, though only token 0's matter to the answer. With one
    frame, attention over time is bypassed: its only weight is one. Mode "series" attends over time
    with queries and keys made of what attention over space has read. Weights that a model computes
    in bfloat16 are given in float32, divided by their sum.

    Args:
      blocks: which, counted from 0, negative ones from the end; None: all.
      heads: which, likewise; None: all.

    Raises:
      UserError: the encoder has no attention, no such block or head, or does not take the clip.
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
    seen = attention_seen(state)
    layers = [seen[i] for i in blocks]
    head_axis = {name: AXES[name].split().index("heads") - 1 for name in _KEYS}  # in one block's

    def stack(name: str) -> jax.Array | None:
        if name not in layers[0]:
            return None
        axis = head_axis[name]
        weights = jnp.stack([layer[name].take(jnp.array(heads), axis) for layer in layers])
        if weights.dtype == jnp.float32:
            return weights
        weights = weights.astype(jnp.float32)  # rounded to bfloat16 they miss one
        return weights / weights.sum(_KEYS[name], keepdims=True)

    maps = {name: stack(name) for name in head_axis}
    gated = "gates" in layers[0]
    gates = jnp.stack([layer["gates"] for layer in layers]) if gated else None
    return maps | {"gates": gates.astype(jnp.float32) if gated else None}


def _choose(what: str, chosen: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """The chosen ones of `count`, counted from 0."""
    chosen = range(count) if chosen is None else np.atleast_1d(chosen).tolist()
    if not chosen or not all(-count <= i < count for i in chosen):
        raise UserError(f"{what}s run from 0 to {count - 1}, not {list(chosen)}")
    return tuple(int(i) % count for i in chosen)


def save_attention_maps(maps: AttentionMaps, path: str | Path) -> None:
    """Writes one `.npz` (see docs/model.md), which `load_attention_maps` reads.

    Raises:
      UserError: it cannot be written.
    """
    arrays = {name: getattr(maps, name) for name in AXES}
    arrays = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    facts = dict(
        format=np.array(FORMAT),
        encoder=np.array(maps.encoder),
        mode=np.array(maps.mode),
        blocks=np.array(maps.blocks, np.int32),
        heads=np.array(maps.heads, np.int32),
    )
    with whole_file(path) as file:
        np.savez_compressed(file, **facts, **arrays)


def load_attention_maps(path: str | Path) -> AttentionMaps:
    """Attention maps from a file, as NumPy arrays.

    Raises:
      UserError: it cannot be read, or does not hold what it should.
    """
    try:
        with open_npz(path) as file:
            content = dict(file)
        check_format(int(content["format"]), FORMAT)
        maps = AttentionMaps(
            **{name: content.get(name) for name in AXES},
            blocks=tuple(content["blocks"].astype(int).tolist()),
            heads=tuple(content["heads"].astype(int).tolist()),
            encoder=str(content["encoder"]),
            mode=str(content["mode"]),
        )
        _check(maps)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except KeyError as error:
        raise UserError(f"{path} holds no attention maps: {error} is missing") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no attention maps that can be read: {error}") from None
    return maps


def _check(maps: AttentionMaps) -> None:
    """Raises ValueError unless shapes agree and weights are weights."""
    arrays = {name: getattr(maps, name) for name in AXES if getattr(maps, name) is not None}
    if not arrays.keys() & _KEYS.keys():
        raise ValueError("it has no attention weights")
    axes = {name: f"float {text}" for name, text in AXES.items()}
    check_axes(arrays, axes, {"blocks": len(maps.blocks), "heads": len(maps.heads)})
    for name, array in arrays.items():
        weights = (array >= 0).all() and (array <= 1 + _TOLERANCE).all()
        if name in _KEYS:
            weights &= (np.abs(array.sum(axis=_KEYS[name]) - 1) < _TOLERANCE).all()
        if not weights:
            raise ValueError(f"{name} holds numbers that are not weights")
