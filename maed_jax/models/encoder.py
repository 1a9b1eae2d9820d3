"""STE, the spatial-temporal encoder: a clip to one feature a frame (paper, section 3.2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.errors import UserError
from maed_jax.models.attention import Mode, SpatialTemporalAttention
from maed_jax.models.resnet import ResNetRoot


def layer_norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name)


class Mlp(nn.Module):
    """Two layers, four times the width between, exact GELU. `[... d]`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        x = nn.gelu(nn.Dense(4 * d, name="fc1")(x), approximate=False)
        return nn.Dense(d, name="fc2")(x)


class Block(nn.Module):
    """Pre-norm Transformer block with attention over space and time. `[b t n d]`."""

    heads: int
    mode: Mode

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        attention = SpatialTemporalAttention(self.heads, self.mode, name="attention")
        x = x + attention(layer_norm("norm1")(x))
        return x + Mlp(name="mlp")(layer_norm("norm2")(x))


class SpatialTemporalEncoder(nn.Module):
    """Clips `[b t h w 3]` to features `[b t feature_dim]`.

    A single image is a clip of one frame: attention over time then returns what it was given.
    Modes "vanilla" and "temporal" have no temporal embedding, as released.
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

    @nn.compact
    def __call__(self, clip: jax.Array, *, train: bool = False) -> jax.Array:
        b, t, h, w, _ = clip.shape
        if (h, w) != (self.image_size, self.image_size):
            raise UserError(
                f"the model takes frames of {self.image_size}x{self.image_size} pixels, not {h}x{w}"
            )
        root = ResNetRoot(self.stage_sizes, self.width, name="root")
        x = root(rearrange(clip, "b t h w c -> (b t) h w c"))
        x = nn.Dense(self.dim, name="embedding")(x)
        x = rearrange(x, "(b t) h w d -> b t (h w) d", b=b)
        x = self.add_positions(x)
        for i in range(self.depth):
            x = Block(self.heads, self.mode, name=f"block{i}")(x)
        x = layer_norm("norm")(x)[:, :, 0]
        return nn.tanh(nn.Dense(self.feature_dim, name="pre_logits")(x))

    def add_positions(self, x: jax.Array) -> jax.Array:
        """Prepends the trainable token and adds the embeddings of place and of time."""
        b, t, n, d = x.shape
        init = nn.initializers.truncated_normal(0.02)
        token = self.param("token", nn.initializers.zeros, (1, 1, 1, d))
        x = jnp.concatenate([jnp.broadcast_to(token, (b, t, 1, d)), x], axis=2)
        x = x + self.param("space_embedding", init, (1, 1, n + 1, d))
        if self.mode in ("vanilla", "temporal"):
            return x
        if t > self.clip_length:
            raise UserError(
                f"a clip of {t} frames is longer than the {self.clip_length} that the temporal "
                "embedding was made for; cut it into shorter clips"
            )
        return x + self.param("time_embedding", init, (1, self.clip_length, 1, d))[:, :t]
