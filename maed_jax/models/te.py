"""CNN+TE: attention over time between globally pooled frames (paper, section 4.4.2 and table 2)."""

from __future__ import annotations

import jax
from einops import rearrange
from flax import linen as nn

from maed_jax.models.dense import dense
from maed_jax.models.encoder import TIME_INIT, make_block
from maed_jax.models.frames import check_frames, time_embedding_of
from maed_jax.models.layer_norm import LayerNorm
from maed_jax.models.parameters import Module
from maed_jax.models.resnet import ResNetRoot


class TemporalEncoder(Module):
    """Clips `[b t h w 3]` to features `[b t feature_dim]`.

    The root's features are pooled to one token a frame, which leaves attention nothing but time.
    Unlike the released code's mode "temporal", which pools anew in every block and does not know
    the order of frames, the tokens carry the temporal embedding.
    """

    image_size: int
    clip_length: int
    stage_sizes: tuple[int, ...]
    width: int
    dim: int
    depth: int
    heads: int
    feature_dim: int
    interpolate_time: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, clip: jax.Array, *, train: bool = False) -> jax.Array:
        check_frames(clip, self.image_size)
        b, t = clip.shape[:2]
        root = ResNetRoot(self.stage_sizes, self.width, self.remat, name="root")
        x = root(rearrange(clip, "b t h w c -> (b t) h w c"))
        x = dense(self.dim, "embedding", x.dtype)(x.mean(axis=(1, 2)))
        x = rearrange(x, "(b t) d -> b t 1 d", b=b)
        time = self.param("time_embedding", TIME_INIT, (1, self.clip_length, 1, self.dim))
        x = x + time_embedding_of(time, t, interpolate=self.interpolate_time).astype(x.dtype)
        block = make_block(self.remat)
        for i in range(self.depth):
            x = block(self.heads, "temporal", name=f"block{i}")(x, None)
        x = LayerNorm(name="norm")(x[:, :, 0])
        return nn.tanh(dense(self.feature_dim, "pre_logits", x.dtype)(x))
