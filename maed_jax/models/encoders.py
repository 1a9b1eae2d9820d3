"""The encoders of the paper's Table 2 by name: from clips `[b t h w 3]` to features `[b t d]`."""

from __future__ import annotations

from flax import linen as nn

from maed_jax.errors import UserError
from maed_jax.models.attention import MODES
from maed_jax.models.cnn import ConvolutionalEncoder
from maed_jax.models.encoder import WITHOUT_TIME, SpatialTemporalEncoder
from maed_jax.models.resnet import GROUPS
from maed_jax.models.te import TemporalEncoder

ENCODERS = ("ste", "te", "cnn")
DTYPES = ("float32", "bfloat16")
ROOT = (3, 4, 9)  # bottlenecks per stage of the paper's root


def check_encoder(model) -> None:
    """Checks the encoder settings of a `MAED`, or of `config.model`.

    Raises:
      UserError: no such encoder or mode, or unsuitable settings.
    """
    if model.encoder not in ENCODERS:
        raise UserError(f"there is no encoder {model.encoder!r}; choose from {', '.join(ENCODERS)}")
    if model.mode not in MODES:
        raise UserError(f"there is no mode {model.mode!r}; choose from {', '.join(MODES)}")
    if model.encoder != "cnn" and model.dim % model.heads:
        raise UserError(
            f"config.model.dim={model.dim} must be a multiple of config.model.heads={model.heads}"
        )
    if model.encoder == "cnn" and tuple(model.stage_sizes) == ROOT:
        raise UserError(
            f"config.model.stage_sizes={ROOT} is for the root of the transformers; the encoder "
            "'cnn' is a whole ResNet-50: set config.model.stage_sizes=(3, 4, 6, 3)"
        )
    if model.dtype not in DTYPES:
        raise UserError(
            f"config.model.dtype must be {' or '.join(map(repr, DTYPES))}, not {model.dtype!r}"
        )
    if model.encoder != "cnn" and (channels := _ungrouped(model.width, len(model.stage_sizes))):
        raise UserError(
            f"config.model.width={model.width} leads to layers of {channels} channels, which do "
            f"not divide into GroupNorm's {GROUPS} groups: choose 1, 2, 4, 8, 16 or a multiple of "
            f"{GROUPS}"
        )


def _ungrouped(width: int, stages: int) -> int | None:
    """Channels of the first layer of a `ResNetRoot` that do not divide into groups, or None."""
    layers = [width, *(n * width * 2**stage for stage in range(stages) for n in (1, 4))]
    return next((n for n in layers if n > GROUPS and n % GROUPS), None)


def has_time_embedding(model) -> bool:
    """Whether the encoder of a `MAED`, or of `config.model`, has a temporal embedding."""
    return model.encoder == "te" or (model.encoder == "ste" and model.mode not in WITHOUT_TIME)


def make_encoder(model) -> nn.Module:
    """Creates the encoder of a `MAED`; it is called as `encoder(clip, train=...)`.

    It computes in the dtype of the clip. Parameters and the sums in softmax and norms are float32.

    Raises:
      UserError: see `check_encoder`.
    """
    check_encoder(model)
    common = dict(
        image_size=model.image_size,
        stage_sizes=tuple(model.stage_sizes),
        width=model.width,
        remat=model.remat,
        name="encoder",
    )
    if model.encoder == "cnn":
        return ConvolutionalEncoder(**common)
    transformer = dict(
        clip_length=model.clip_length,
        dim=model.dim,
        depth=model.depth,
        heads=model.heads,
        feature_dim=model.feature_dim,
        interpolate_time=model.interpolate_time,
    )
    if model.encoder == "te":
        return TemporalEncoder(**common, **transformer)
    return SpatialTemporalEncoder(**common, **transformer, mode=model.mode)
