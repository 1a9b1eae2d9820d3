"""Checks of the sizes of a `MAED`, which may come out of a stranger's file, and of its clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from maed_jax.arguments import SEEDS
from maed_jax.errors import UserError

Bounds = tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...]
"""what settings must be, as a comparison that NaN does not pass, and which of them"""

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
      UserError: some cannot be.
    """
    names = (name for _, _, names in BOUNDS for name in names)
    check_bounds({name: getattr(model, name) for name in names}, BOUNDS, "model.")
    stages = model.stage_sizes
    if not stages or not all(type(units) is int and units >= 1 for units in stages):
        raise UserError(
            "model.stage_sizes must be whole numbers of at least 1, one for each stage, not "
            f"{tuple(stages)}"
        )


def check_clip(clip: jax.Array, image_size: int) -> None:
    """Raises: UserError: `clip` is not `[b t h w 3]` with frames of the model's size."""
    if clip.ndim != 5 or clip.shape[-1] != 3:
        raise UserError(f"the model takes clips [b t h w 3], not an array {list(clip.shape)}")
    if 0 in clip.shape[:2]:
        raise UserError(f"clips {list(clip.shape)} are empty: give at least one frame")
    h, w = clip.shape[2:4]
    if (h, w) != (image_size, image_size):
        raise UserError(f"the model takes frames of {image_size}x{image_size} pixels, not {h}x{w}")


def check_bounds(values: Mapping[str, Any], bounds: Bounds, where: str) -> None:
    """Raises: UserError: one of these settings of `where` is not within `bounds`."""
    for needed, holds, names in bounds:
        for name in names:
            if not holds(values[name]):
                raise UserError(f"{where}{name} must be {needed}, not {values[name]}")
