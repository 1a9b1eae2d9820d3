"""Checks the sizes of a `MAED`, which may come from an untrusted file, and of its clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from maed_jax.arguments import SEEDS
from maed_jax.errors import UserError

Bounds = tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...]
"""requirement in words, the same as a comparison that NaN fails, and the settings it is for"""

BOUNDS: Bounds = (
    (
        "at least 1",
        lambda value: value >= 1,
        (
            *("image_size", "clip_length", "width", "dim", "depth", "heads", "feature_dim"),
            "decoder_width",
        ),
    ),
    ("at least 0 and below 2^32", lambda value: 0 <= value < SEEDS, ("tree_seed",)),
    ("at least 0 and below 1", lambda value: 0 <= value < 1, ("dropout",)),
)


def check_sizes(model) -> None:
    """Checks the sizes of a `MAED`, or of `config.model`.

    Raises:
      UserError: a size is out of bounds.
    """
    names = (name for _, _, names in BOUNDS for name in names)
    check_bounds({name: getattr(model, name) for name in names}, BOUNDS, "config.model.")
    stages = model.stage_sizes
    if not stages or not all(type(units) is int and units >= 1 for units in stages):
        raise UserError(
            "config.model.stage_sizes must be whole numbers of at least 1, one per stage, not "
            f"{tuple(stages)}"
        )


def check_clip(clip: jax.Array, image_size: int) -> None:
    """Raises: UserError: `clip` is not `[b t h w 3]` with frames of `image_size`, or is empty."""
    if clip.ndim != 5 or clip.shape[-1] != 3:
        raise UserError(f"the model takes clips [b t h w 3], not an array {list(clip.shape)}")
    if 0 in clip.shape[:2]:
        raise UserError(f"clips {list(clip.shape)} are empty: give at least one frame")
    h, w = clip.shape[2:4]
    if (h, w) != (image_size, image_size):
        raise UserError(f"the model takes frames of {image_size}x{image_size} pixels, not {h}x{w}")


def check_bounds(values: Mapping[str, Any], bounds: Bounds, where: str) -> None:
    """Raises: UserError: a setting is not within `bounds`; `where` precedes its name."""
    for needed, holds, names in bounds:
        for name in names:
            if not holds(values[name]):
                raise UserError(f"{where}{name} must be {needed}, not {values[name]}")
