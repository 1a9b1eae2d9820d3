"""Checks the settings of a `MAED`, which may come from an untrusted file, and its clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from maed_jax.arguments import SEEDS
from maed_jax.errors import UserError
from maed_jax.models.attention import MODES
from maed_jax.models.resnet import GROUPS

ENCODERS = ("ste", "te", "cnn")
DECODERS = ("ktd", "ktd_random", "ktd_reverse", "iterative", "vanilla")
DTYPES = ("float32", "bfloat16")
ROOT = (3, 4, 9)  # bottlenecks per stage of the paper's root

Bounds = tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...]
"""requirement in words, the same as a comparison that NaN fails, and the settings it is for"""

BOUNDS: Bounds = (
    (
        "at least 1",
        lambda value: value >= 1,
        (
            *("image_size", "clip_length", "dim", "depth", "heads", "feature_dim"),
            "decoder_width",
        ),
    ),
    # a kernel of a single number cannot be standardised
    ("at least 2", lambda value: value >= 2, ("width",)),
    ("at least 0 and below 2^32", lambda value: 0 <= value < SEEDS, ("tree_seed",)),
    ("at least 0 and below 1", lambda value: 0 <= value < 1, ("dropout",)),
)


def check_network(model) -> None:
    """Checks the settings of a `MAED`, or `config.model`.

    Raises:
      UserError: a setting is impossible.
    """
    check_choice("encoder", model.encoder, ENCODERS)
    check_choice("mode", model.mode, MODES)
    check_choice("decoder", model.decoder, DECODERS)
    if model.dtype not in DTYPES:
        raise UserError(
            f"config.model.dtype must be {' or '.join(map(repr, DTYPES))}, not {model.dtype!r}"
        )
    names = (name for _, _, names in BOUNDS for name in names)
    check_bounds({name: getattr(model, name) for name in names}, BOUNDS, "config.model.")
    stages = model.stage_sizes
    if not stages or not all(type(units) is int and units >= 1 for units in stages):
        raise UserError(
            "config.model.stage_sizes must be whole numbers of at least 1, one per stage, not "
            f"{tuple(stages)}"
        )
    if (model.encoder != "cnn" or model.decoder == "vanilla") and model.dim % model.heads:
        raise UserError(
            f"config.model.dim={model.dim} must be a multiple of config.model.heads={model.heads}"
        )
    if model.encoder == "cnn" and tuple(stages) == ROOT:
        raise UserError(
            f"config.model.stage_sizes={ROOT} is for the root of the transformers; the encoder "
            "'cnn' is a whole ResNet-50: set config.model.stage_sizes=(3, 4, 6, 3)"
        )
    if model.encoder != "cnn" and (channels := _ungrouped(model.width, len(stages))):
        raise UserError(
            f"config.model.width={model.width} leads to layers of {channels} channels, which do "
            f"not divide into GroupNorm's {GROUPS} groups: choose 2, 4, 8, 16 or a multiple of "
            f"{GROUPS}"
        )


def check_choice(what: str, name: str, choices: tuple[str, ...]) -> None:
    """Raises: UserError: there is no such encoder, mode or decoder (`what`)."""
    if name not in choices:
        raise UserError(f"there is no {what} {name!r}; choose from {', '.join(choices)}")


def check_bounds(values: Mapping[str, Any], bounds: Bounds, where: str) -> None:
    """Raises: UserError: a setting is not within `bounds`; `where` precedes its name."""
    for needed, holds, names in bounds:
        for name in names:
            if not holds(values[name]):
                raise UserError(f"{where}{name} must be {needed}, not {values[name]}")


def _ungrouped(width: int, stages: int) -> int | None:
    """Channels of the first layer of a `ResNetRoot` that do not divide into groups, or None."""
    layers = [width, *(n * width * 2**stage for stage in range(stages) for n in (1, 4))]
    return next((n for n in layers if n > GROUPS and n % GROUPS), None)


def check_clip(clip: jax.Array, image_size: int) -> None:
    """Raises: UserError: `clip` is not `[b t h w 3]` with frames of `image_size`, or is empty."""
    if clip.ndim != 5 or clip.shape[-1] != 3:
        raise UserError(f"the model takes clips [b t h w 3], not an array {list(clip.shape)}")
    if 0 in clip.shape[:2]:
        raise UserError(f"clips {list(clip.shape)} are empty: give at least one frame")
    h, w = clip.shape[2:4]
    if (h, w) != (image_size, image_size):
        raise UserError(f"the model takes frames of {image_size}x{image_size} pixels, not {h}x{w}")
