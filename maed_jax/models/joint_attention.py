"""How much KTD's joints depend on their ancestors (the paper's figure 1b, measured)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from maed_jax.models.regression import REST_POSE


def joint_fractions(
    params: Mapping[str, Any], pose6d: jax.Array, ancestors: Sequence[Sequence[int]]
) -> jax.Array:
    """The fraction of each joint's rotation due to each of its ancestors, `[... joints joints]`.

    A joint's six numbers are an affine map of the image feature and of the six numbers of each
    ancestor. So the deviation p_j - rest_j of joint j from rest is the sum of contributions
    W_ja (p_a - rest_a) of its ancestors a, and of a remainder, due to the image. Fractions are the
    norms of these parts divided by the sum of the norms: entry (j, a) is that of joint a in joint
    j, and the image's is 1 minus the sum of row j. What joint a has itself taken from its own
    ancestors counts as joint a's.

    Args:
      params: parameters of the decoder "ktd", "ktd_random" or "ktd_reverse".
      pose6d: [... joints 6], the decoder's output.
      ancestors: those of each joint, in order; see `ktd.ktd_ancestors`.
    """
    turned = pose6d - jnp.array(REST_POSE, pose6d.dtype)
    rows = []
    for joint, read in enumerate(ancestors):
        kernel = params[f"joint{joint}"]["kernel"]
        kernel = kernel[len(kernel) - 6 * len(read) :]
        image, lengths = turned[..., joint, :], {}
        for ancestor, weights in zip(read, kernel.reshape(-1, 6, 6)):
            part = turned[..., ancestor, :] @ weights
            image = image - part
            lengths[ancestor] = jnp.linalg.norm(part, axis=-1)
        total = jnp.linalg.norm(image, axis=-1) + sum(lengths.values())
        none = jnp.zeros_like(total)
        row = jnp.stack([lengths.get(i, none) for i in range(len(ancestors))], axis=-1)
        rows.append(row / jnp.maximum(total, 1e-12)[..., None])
    return jnp.stack(rows, axis=-2)
