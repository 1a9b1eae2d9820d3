"""Position embeddings: the temporal embedding of a clip, and how embeddings are added to tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.errors import UserError


def time_embedding_of(embedding: jax.Array, t: int, *, interpolate: bool) -> jax.Array:
    """The temporal embedding `[1 t 1 d]` for `t` frames, from one `[1 length 1 d]`.

    Up to `length` frames take the first entries. With `interpolate`, more frames are spread evenly
    from the first entry to the last, with linear interpolation between entries.

    Raises:
      UserError: there are more frames, but not `interpolate`.
    """
    length = embedding.shape[1]
    if t <= length:
        return embedding[:, :t]
    if not interpolate:
        raise UserError(
            f"a clip of {t} frames is longer than the {length} frames of the temporal embedding; "
            "cut it into shorter clips, or set model.interpolate_time"
        )
    place = np.linspace(0, length - 1, t)
    left = np.minimum(place.astype(int), max(length - 2, 0))
    right = np.minimum(left + 1, length - 1)
    fraction = (place - left).astype(np.float32)[:, None, None]
    return (1 - fraction) * embedding[:, left] + fraction * embedding[:, right]


@jax.custom_vjp
def add_position_embedding(x: jax.Array, embedding: jax.Array) -> jax.Array:
    """Adds the position embedding `[1 ...]` to tokens `[b ...]`, in the dtype of the tokens.

    The embedding's gradient, a sum over the batch, is computed as a matmul with ones, as precise as
    other matmuls. For a sum, XLA on a GPU lays out the tokens of all blocks with the batch
    innermost, and transposes them before and after each matmul.
    """
    return x + embedding.astype(x.dtype)


def _forward(x: jax.Array, embedding: jax.Array) -> tuple[jax.Array, jax.Array]:
    return add_position_embedding(x, embedding), embedding


def _backward(embedding: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    clips = gradient.reshape(len(gradient), -1)
    ones = jnp.ones(len(clips), clips.dtype)
    sums = jnp.einsum("b,bk->k", ones, clips, preferred_element_type=jnp.float32)
    return gradient, sums.reshape(embedding.shape).astype(embedding.dtype)


add_position_embedding.defvjp(_forward, _backward)
