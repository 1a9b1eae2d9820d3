"""The plain Transformer decoder that the paper compares KTD with (section 4.4.3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.models.layers import LayerNorm, dense
from maed_jax.models.regression import (
    HEAD_INIT,
    INITIAL_CAMERA,
    MEAN_SHAPE,
    REST_POSE,
    Regression,
)

JOINTS, BETAS, CAMERA = len(REST_POSE), len(MEAN_SHAPE), len(INITIAL_CAMERA)


class VanillaDecoder(nn.Module):
    """Maps features `[... d]` to a `Regression` with 37 queries that attend to one another.

    The paper uses the standard decoder of "Attention is all you need" with 6 layers on 37 zero
    tokens: 24 for the pose, 10 for the shape and 3 for the camera. So each layer has attention
    among the queries, attention to the encoder's output, and an MLP of four times the width with
    ReLU, each followed by dropout of 0.1, the residual and the norm. What the paper leaves open:

    - Identical zeros would stay identical. A learned position embedding, added once at the start,
      makes the queries differ.
    - Queries attend to the feature of their frame, as in the other decoders. Attention to this
      single token returns its value for any query and key, whose projections would never have a
      gradient and are omitted.
    - Each query outputs its own numbers (six for a joint, otherwise one) through a matrix shared by
      queries of the same kind and its own bias, initialised like KTD's.
    """

    width: int = 768
    heads: int = 12
    dropout: float = 0.1
    layers: int = 6

    @nn.compact
    def __call__(self, feature: jax.Array, body: Body | None = None, *, train: bool) -> Regression:
        embedding = nn.initializers.normal(0.02)
        queries = self.param("queries", embedding, (JOINTS + BETAS + CAMERA, self.width))
        x = jnp.broadcast_to(queries, (*feature.shape[:-1], *queries.shape))
        for i in range(self.layers):
            layer = DecoderLayer(self.heads, self.dropout, name=f"layer{i}")
            x = layer(x, feature, train=train)
        pose, shape, camera = jnp.split(x, [JOINTS, JOINTS + BETAS], axis=-2)
        return Regression(
            pose6d=QueryHead(REST_POSE, name="pose")(pose),
            shape=QueryHead(tuple((beta,) for beta in MEAN_SHAPE), name="shape")(shape)[..., 0],
            camera=QueryHead(tuple((c,) for c in INITIAL_CAMERA), name="camera")(camera)[..., 0],
        )


class DecoderLayer(nn.Module):
    """Maps queries `[... n d]` and the feature `[... c]` they read to queries `[... n d]`."""

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, feature: jax.Array, *, train: bool) -> jax.Array:
        d = x.shape[-1]

        def add(name: str, x: jax.Array, change: jax.Array) -> jax.Array:
            change = nn.Dropout(self.dropout, deterministic=not train)(change)
            return LayerNorm(epsilon=1e-5, name=name)(x + change)

        qkv = dense(3 * d, "qkv")(x)
        q, k, v = rearrange(
            qkv, "... n (three heads dh) -> three ... n heads dh", three=3, heads=self.heads
        )
        y = rearrange(nn.dot_product_attention(q, k, v), "... n heads dh -> ... n (heads dh)")
        x = add("norm1", x, dense(d, "proj")(y))
        read = dense(d, "read_proj")(dense(d, "read_value")(feature))
        x = add("norm2", x, read[..., None, :])
        y = nn.relu(dense(4 * d, "fc1")(x))
        return add("norm3", x, dense(d, "fc2")(y))


class QueryHead(nn.Module):
    """Maps queries `[... n d]` to numbers `[... n c]`, initially near `start` `[n c]`."""

    start: tuple[tuple[float, ...], ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = jnp.asarray(self.start)
        kernel = self.param("kernel", HEAD_INIT, (x.shape[-1], start.shape[-1]))
        return x @ kernel + self.param("bias", lambda key: start)
