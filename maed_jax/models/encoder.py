"""STE and TE: encoders that map a clip to one feature per frame (paper, sections 3.2 and 4.4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.models.attention import Mode, SpatialTemporalAttention
from maed_jax.models.layers import LayerNorm, dense, gelu
from maed_jax.models.position_embedding import add_position_embedding, time_embedding_of
from maed_jax.models.resnet import ResNetRoot

TIME_INIT = nn.initializers.truncated_normal(0.02)
# As large as the tokens it is added to; if smaller, attention cannot distinguish positions until
# training has increased it. The demo's network increased it from 0.02 to 0.4; the original starts
# at 0.02, but then loads pretrained weights. docs/demo.md compares the two.
SPACE_INIT = nn.initializers.truncated_normal(1.0)
NO_TIME_EMBEDDING = ("vanilla", "temporal")  # modes without it, as in the released code


class Mlp(nn.Module):
    """Two layers with hidden width 4 * d and exact GELU. `[... d]` to `[... d]`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        x = gelu(dense(4 * d, "fc1", x.dtype)(x))
        return dense(d, "fc2", x.dtype)(x)


class Block(nn.Module):
    """Pre-norm Transformer block with attention over space and time. `[b t n d]`.

    `num_queries` limits the output to the first tokens of each frame.
    """

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array, num_queries: int | None = None) -> jax.Array:
        attention = SpatialTemporalAttention(self.heads, self.mode, name="attention")
        x = x[:, :, :num_queries] + attention(LayerNorm(name="norm1")(x), num_queries)
        return x + Mlp(name="mlp")(LayerNorm(name="norm2")(x))


class SpatialTemporalEncoder(nn.Module):
    """Maps clips `[b t h w 3]` to features `[b t feature_dim]`.

    A single image is a clip of one frame: attention over time then returns its values unchanged.
    The modes in `NO_TIME_EMBEDDING` have no temporal embedding.

    Only token 0 is read at the end, so the last block computes only this one, unless the collection
    "intermediates" is mutable, that is, the weights of attention are requested. `remat` recomputes
    blocks for the gradient instead of keeping their activations. `train` makes no difference.
    """

    clip_length: int
    stage_sizes: tuple[int, ...]
    width: int
    dim: int
    depth: int
    heads: int
    feature_dim: int
    mode: Mode
    interpolate_time: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, clip: jax.Array, *, train: bool = False) -> jax.Array:
        root = ResNetRoot(self.stage_sizes, self.width, self.remat, name="root")
        x = self.tokens(root(rearrange(clip, "b t h w c -> (b t) h w c")), b=clip.shape[0])
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block  # static num_queries
        return_weights = self.is_mutable_collection("intermediates")
        for i in range(self.depth):
            num_queries = 1 if i == self.depth - 1 and not return_weights else None
            x = block(self.heads, self.mode, name=f"block{i}")(x, num_queries)
        x = LayerNorm(name="norm")(x[:, :, 0])
        return nn.tanh(dense(self.feature_dim, "pre_logits", x.dtype)(x))

    def tokens(self, x: jax.Array, *, b: int) -> jax.Array:
        """The root's features `[(b t) h w c]` as tokens `[b t n d]` with position embeddings.

        The trainable token comes first, then one for each pixel.
        """
        x = dense(self.dim, "embedding", x.dtype)(x)
        x = rearrange(x, "(b t) h w d -> b t (h w) d", b=b)
        _, t, n, d = x.shape
        token = self.param("token", nn.initializers.zeros, (1, 1, 1, d))
        token = jnp.broadcast_to(token.astype(x.dtype), (b, t, 1, d))
        x = jnp.concatenate([token, x], axis=2)
        embedding = self.param("space_embedding", SPACE_INIT, (1, 1, n + 1, d))
        if self.mode not in NO_TIME_EMBEDDING:
            embedding = embedding + self.time_embedding(t)
        return add_position_embedding(x, jnp.broadcast_to(embedding, (1, t, n + 1, d)))

    def time_embedding(self, t: int) -> jax.Array:
        """The temporal embedding of `t` frames, `[1 t 1 d]`."""
        embedding = self.param("time_embedding", TIME_INIT, (1, self.clip_length, 1, self.dim))
        return time_embedding_of(embedding, t, interpolate=self.interpolate_time)


class TemporalEncoder(SpatialTemporalEncoder):
    """CNN+TE: attention over time on globally pooled frames (paper, section 4.4.2 and table 2).

    The root's features are pooled to one token per frame, so attention is over time only. These
    tokens have the temporal embedding, unlike in the released code's mode "temporal", which pools
    in every block and does not know the order of frames.
    """

    mode: Mode = "temporal"

    def tokens(self, x: jax.Array, *, b: int) -> jax.Array:
        """The root's features `[(b t) h w c]` as one token per frame, `[b t 1 d]`."""
        x = dense(self.dim, "embedding", x.dtype)(x.mean(axis=(1, 2)))
        x = rearrange(x, "(b t) d -> b t 1 d", b=b)
        return x + self.time_embedding(x.shape[1]).astype(x.dtype)


def has_time_embedding(model) -> bool:
    """Whether the encoder of a `MAED`, or of `config.model`, has a temporal embedding."""
    ste = model.encoder == "ste" and model.mode not in NO_TIME_EMBEDDING
    return ste or model.encoder == "te"


def attention_weights(collections: Mapping[str, Any]) -> list[dict[str, jax.Array]]:
    """The weights of attention in each block, by name, as `SpatialTemporalAttention` stored them.

    Empty for encoders without attention.

    Args:
      collections: second output of `MAED.apply` with `mutable="intermediates"`.
    """
    encoder = collections.get("intermediates", {}).get("encoder", {})
    blocks = [encoder[name] for i in range(len(encoder)) if (name := f"block{i}") in encoder]
    return [{name: array for name, (array,) in b["attention"].items()} for b in blocks]
