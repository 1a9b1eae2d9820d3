"""The decoders of the paper's Table 2 by name: features `[b t d]` to pose, shape and camera."""

from __future__ import annotations

from flax import linen as nn

from maed_jax.errors import UserError
from maed_jax.models.iterative import IterativeDecoder
from maed_jax.models.ktd import KinematicTopologyDecoder

DECODERS = ("ktd", "iterative")


def make_decoder(model) -> nn.Module:
    """The decoder that the settings of a `MAED` ask for.

    It is called as `decoder(feature, body, train=...)` and answers a `Regression`.

    Raises:
      UserError: no such decoder.
    """
    match model.decoder:
        case "ktd":
            return KinematicTopologyDecoder(model.decoder_width, model.dropout, name="decoder")
        case "iterative":
            return IterativeDecoder(model.decoder_width, model.dropout, name="decoder")
    raise UserError(f"there is no decoder {model.decoder!r}; choose from {', '.join(DECODERS)}")
