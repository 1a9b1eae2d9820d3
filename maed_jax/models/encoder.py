"""STE, the spatial-temporal encoder: a clip to one feature a frame (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.models.attention import Mode, SpatialTemporalAttention
from maed_jax.models.dense import dense
from maed_jax.models.frames import add_position_embedding, check_frames, time_embedding_of
from maed_jax.models.gelu import gelu
from maed_jax.models.layer_norm import LayerNorm
from maed_jax.models.parameters import Module
from maed_jax.models.resnet import ResNetRoot

TIME_INIT = nn.initializers.truncated_normal(0.02)
# As large as the tokens that it is added to, or attention cannot tell places apart until training
# has made it grow: from 0.02, where the original starts before pretrained weights take its place,
# the demo's network grew it to 0.4. docs/demo.md compares.
SPACE_INIT = nn.initializers.truncated_normal(1.0)
WITHOUT_TIME = ("vanilla", "temporal")  # the modes that have no temporal embedding, as released


class Mlp(nn.Module):
    """Two layers, four times the width between, exact GELU. `[... d]`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        x = gelu(dense(4 * d, "fc1", x.dtype)(x))
        return dense(d, "fc2", x.dtype)(x)


class Block(nn.Module):
    """Pre-norm Transformer block with attention over space and time. `[b t n d]`.

    With `queries`, it answers for the first so many tokens of each frame only.
    """

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array, queries: int | None = None) -> jax.Array:
        attention = SpatialTemporalAttention(self.heads, self.mode, name="attention")
        x = x[:, :, :queries] + attention(LayerNorm(name="norm1")(x), queries)
        return x + Mlp(name="mlp")(LayerNorm(name="norm2")(x))


def make_block(remat: bool) -> type[nn.Module]:
    """`Block`; with `remat`, the gradient computes it again instead of keeping what is inside."""
    return nn.remat(Block, static_argnums=(2,)) if remat else Block  # `queries` is a number


def attention_seen(collections: Mapping[str, Any]) -> list[dict[str, jax.Array]]:
    """What `SpatialTemporalAttention` left in each block of a network; none without attention.

    Args:
      collections: what `apply` gives beside the answer where "intermediates" is mutable.
    """
    encoder = collections.get("intermediates", {}).get("encoder", {})
    blocks = [encoder[name] for i in range(len(encoder)) if (name := f"block{i}") in encoder]
    return [{name: array for name, (array,) in b["attention"].items()} for b in blocks]


class SpatialTemporalEncoder(Module):
    """Clips `[b t h w 3]` to features `[b t feature_dim]`.

    A single image is a clip of one frame: attention over time then returns what it was given.
    The modes in `WITHOUT_TIME` have no temporal embedding.

    Only token 0 is read at the end, so the last block answers for that one alone, or for all tokens
    where the collection "intermediates" is mutable, that is, where someone looks inside.
    """

    image_size: int
    clip_length: int
    stage_sizes: tuple[int, ...]
    width: int
    dim: int
    depth: int
    heads: int
    mode: Mode
    feature_dim: int
    interpolate_time: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, clip: jax.Array, *, train: bool = False) -> jax.Array:
        check_frames(clip, self.image_size)
        b = clip.shape[0]
        root = ResNetRoot(self.stage_sizes, self.width, self.remat, name="root")
        x = root(rearrange(clip, "b t h w c -> (b t) h w c"))
        x = dense(self.dim, "embedding", x.dtype)(x)
        x = rearrange(x, "(b t) h w d -> b t (h w) d", b=b)
        x = self.add_positions(x)
        block = make_block(self.remat)
        observed = self.is_mutable_collection("intermediates")
        for i in range(self.depth):
            last = i == self.depth - 1
            queries = 1 if last and not observed else None
            x = block(self.heads, self.mode, name=f"block{i}")(x, queries)
        x = LayerNorm(name="norm")(x[:, :, 0])
        return nn.tanh(dense(self.feature_dim, "pre_logits", x.dtype)(x))

    def add_positions(self, x: jax.Array) -> jax.Array:
        """Prepends the trainable token and adds the spatial and the temporal embedding."""
        b, t, n, d = x.shape
        token = self.param("token", nn.initializers.zeros, (1, 1, 1, d))
        token = jnp.broadcast_to(token.astype(x.dtype), (b, t, 1, d))
        x = jnp.concatenate([token, x], axis=2)
        embedding = self.param("space_embedding", SPACE_INIT, (1, 1, n + 1, d))
        if self.mode not in WITHOUT_TIME:
            time = self.param("time_embedding", TIME_INIT, (1, self.clip_length, 1, d))
            embedding = embedding + time_embedding_of(time, t, interpolate=self.interpolate_time)
        return add_position_embedding(x, jnp.broadcast_to(embedding, (1, t, n + 1, d)))
