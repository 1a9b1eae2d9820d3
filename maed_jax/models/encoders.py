"""The encoders of the paper's Table 2 by name: a clip `[b t h w 3]` to features `[b t d]`."""

from __future__ import annotations

from flax import linen as nn

from maed_jax.errors import UserError
from maed_jax.models.encoder import SpatialTemporalEncoder

ENCODERS = ("ste",)


def make_encoder(model) -> nn.Module:
    """The encoder that the settings of a `MAED` ask for; called as `encoder(clip, train=...)`.

    Raises:
      UserError: no such encoder.
    """
    if model.encoder == "ste":
        return SpatialTemporalEncoder(
            image_size=model.image_size,
            clip_length=model.clip_length,
            stage_sizes=tuple(model.stage_sizes),
            width=model.width,
            dim=model.dim,
            depth=model.depth,
            heads=model.heads,
            mode=model.mode,
            feature_dim=model.feature_dim,
            name="encoder",
        )
    raise UserError(f"there is no encoder {model.encoder!r}; choose from {', '.join(ENCODERS)}")
