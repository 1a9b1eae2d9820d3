"""CNN+TE: attention over time on globally pooled frames (paper, section 4.4.2 and table 2)."""

from __future__ import annotations

import jax
from einops import rearrange

from maed_jax.models.attention import Mode
from maed_jax.models.dense import dense
from maed_jax.models.encoder import SpatialTemporalEncoder


class TemporalEncoder(SpatialTemporalEncoder):
    """Maps clips `[b t h w 3]` to features `[b t feature_dim]`.

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
