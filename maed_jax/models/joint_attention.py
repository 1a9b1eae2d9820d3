"""How much KTD's joints depend on the joints they read (the paper's figure 1b, measured)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from maed_jax.models.regression import REST_POSE


def joint_fractions(
    params: Mapping[str, Any], pose6d: jax.Array, reads: Sequence[Sequence[int]]
) -> jax.Array:
    """The fraction of each joint's rotation due to each joint it reads, `[... joints joints]`.

    A joint's six numbers are an affine map of the image feature and of the six numbers of each
    joint it reads. So the deviation p_j - rest_j of joint j from rest is the sum of contributions
    W_ja (p_a - rest_a) of the joints a it reads, and of a remainder, due to the image. Fractions
    are the norms of these parts divided by the sum of the norms: entry (j, a) is that of joint a in
    joint j, and the image's is 1 minus the sum of row j. What joint a has itself taken from other
    joints counts as its own.

    Args:
      params: parameters of the decoder "ktd", "ktd_random" or "ktd_reverse".
      pose6d: [... joints 6], the decoder's output.
      reads: the joints that each joint reads, in order; see `decoders.joints_read`.
    """
    turned = pose6d - jnp.array(REST_POSE, pose6d.dtype)
    rows = []
    for joint, sources in enumerate(reads):
        kernel = params[f"joint{joint}"]["kernel"]
        kernel = kernel[len(kernel) - 6 * len(sources) :]
        image, lengths = turned[..., joint, :], {}
        for source, weights in zip(sources, kernel.reshape(-1, 6, 6)):
            part = turned[..., source, :] @ weights
            image = image - part
            lengths[source] = jnp.linalg.norm(part, axis=-1)
        total = jnp.linalg.norm(image, axis=-1) + sum(lengths.values())
        none = jnp.zeros_like(total)
        row = jnp.stack([lengths.get(i, none) for i in range(len(reads))], axis=-1)
        rows.append(row / jnp.maximum(total, 1e-12)[..., None])
    return jnp.stack(rows, axis=-2)
