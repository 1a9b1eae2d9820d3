"""How strongly KTD's joints listen to those that they read (the paper's figure 1b, measured)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from maed_jax.models.regression import REST_POSE


def joint_shares(
    params: Mapping[str, Any], pose6d: jax.Array, reads: Sequence[Sequence[int]]
) -> jax.Array:
    """The share that each joint's rotation owes to each joint that it reads, `[... joints joints]`.

    A joint's six numbers are an affine map of the image's feature and of the six numbers of the
    joints that it reads. So the way p_j - rest_j of joint j from rest is a sum of what each of
    these adds by its own way from rest, W_ja (p_a - rest_a), and of what is left for the image.
    Shares are the lengths of these parts over their sum: entry (j, a) is that of joint a in joint
    j, and the image's is what the row lacks to one. What such a joint has itself taken from others
    counts as its own.

    Args:
      params: of the decoder "ktd", "ktd_random" or "ktd_reverse".
      pose6d: [... joints 6], as the decoder answers it.
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
