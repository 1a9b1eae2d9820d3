"""KTD level by level of its tree: another way to the same pose, by fewer and larger products.

The tree of layers in `ktd` is the reference, and its parameters, which this reads, are the only
ones. The decoder runs that tree too: on a CPU this form is no faster forwards, about as fast with
gradients, and takes up to twice as long to compile (scripts/bench_ktd.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from maed_jax.models.ktd import reading_order


def joint_levels(ancestors: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """The joints of which none reads another of its level, each after all that it reads.

    In a tree these are its levels by depth; SMPL's has nine, and so has the reversed one.
    """
    level: dict[int, int] = {}
    for joint in reading_order(ancestors):
        level[joint] = 1 + max((level[a] for a in ancestors[joint]), default=-1)
    return tuple(
        tuple(joint for joint in range(len(ancestors)) if level[joint] == depth)
        for depth in range(1 + max(level.values()))
    )


def pose_by_level(
    params: Mapping[str, Any], x: jax.Array, ancestors: Sequence[Sequence[int]]
) -> jax.Array:
    """The pose that KTD's joints give, `[... joints 6]`, level by level of its tree.

    All that the joints take from the decoder's last hidden layer `x` `[... width]` is one product.
    What they take from one another is a block-triangular system, solved with one small product for
    each level but the first. Equal to the unrolled tree up to rounding, and as differentiable.

    Args:
      params: of the decoder, with a kernel and a bias under each of joint0, joint1 and so on.
      ancestors: what each joint reads, as the decoder has it.
    """
    levels = joint_levels(ancestors)
    order = [joint for level in levels for joint in level]
    joints = [params[f"joint{joint}"] for joint in order]
    width = x.shape[-1]
    own = x @ jnp.concatenate([joint["kernel"][:width] for joint in joints], axis=-1)
    own = own + jnp.concatenate([joint["bias"] for joint in joints])
    between = _between([joint["kernel"][width:] for joint in joints], order, ancestors)
    ends = [0, *(6 * n for n in itertools.accumulate(len(level) for level in levels))]
    solved = own[..., : ends[1]]
    for start, end in itertools.pairwise(ends[1:]):
        change = solved @ between[:start, start:end]
        solved = jnp.concatenate([solved, own[..., start:end] + change], axis=-1)
    pose = rearrange(solved, "... (joints six) -> ... joints six", six=6)
    return pose[..., np.argsort(order), :]


def _between(
    kernels: Sequence[jax.Array], order: Sequence[int], ancestors: Sequence[Sequence[int]]
) -> jax.Array:
    """What joints take from one another: `[(joints 6) (joints 6)]` in `order`, from row to column.

    `kernels` are the rows of the joints' kernels for what they read, `[(ancestors 6) 6]` each. One
    gather from all of these rows and a row of zeros puts them in place.
    """
    rows = jnp.concatenate([*kernels, jnp.zeros((1, 6))])
    source = np.full((len(order), len(order), 6), len(rows) - 1)  # [from, to, row]
    start = 0
    for to, joint in enumerate(order):
        for ancestor in ancestors[joint]:
            source[order.index(ancestor), to] = np.arange(start, start + 6)
            start += 6
    return rearrange(rows[source], "a b row column -> (a row) (b column)")
