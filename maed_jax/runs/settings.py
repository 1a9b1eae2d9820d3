"""Checks settings before anything is read or compiled."""

from __future__ import annotations

import math

from ml_collections import ConfigDict

from maed_jax.arguments import SEEDS
from maed_jax.data.augment import Augment
from maed_jax.errors import UserError
from maed_jax.models.checks import Bounds, check_bounds, check_network
from maed_jax.models.encoder import has_time_embedding
from maed_jax.runs.config import flatten

# Bounds of settings other than the model's.
BOUNDS: Bounds = (
    (
        "at least 1",
        lambda value: value >= 1,
        (
            *("steps", "log_every", "checkpoint_every", "keep", "max_skipped", "accumulate"),
            *("data.clip_length", "data.interval", "data.eval_interval"),
        ),
    ),
    (
        "at least 0",
        lambda value: value >= 0,
        (
            *("eval_every", "eval_windows", "optimizer.clip_norm"),
            *("data.clips_per_batch", "data.clips_2d_per_batch", "data.images_per_batch"),
            "data.workers",
        ),
    ),
    ("at least 0 and below 2^32", lambda value: 0 <= value < SEEDS, ("seed",)),
    (
        "at least 0, and finite",
        lambda value: 0 <= value < math.inf,
        (
            *("loss.keypoints_2d", "loss.keypoints_3d", "loss.pose", "loss.shape", "loss.norm"),
            *("optimizer.l2", "optimizer.decay_factor"),
        ),
    ),
    ("above 0, and finite", lambda value: 0 < value < math.inf, ("optimizer.learning_rate",)),
    ("at least 0 and below 1", lambda value: 0 <= value < 1, ("ema",)),
)


def check_settings(config: ConfigDict, *, resumed: bool = False) -> None:
    """Checks what would otherwise fail only after compiling, or never.

    Args:
      resumed: whether there are checkpoints to resume from.

    Raises:
      UserError: invalid or contradictory settings.
    """
    check_bounds(dict(flatten(config)), BOUNDS, "config.")
    check_model(config)
    for part in ("clips_2d", "images"):
        Augment.of_part(config.data, part)
    _check_clip_length(config, resumed)
    if config.init_required and not config.init_from and not resumed:
        raise UserError(
            "this configuration starts from an earlier stage: give its work directory with "
            "--config.init_from=DIR, or train from scratch with --config.init_required=false"
        )


def check_model(config: ConfigDict) -> None:
    """Checks the settings a trained model depends on, also of a possibly untrusted config.json.

    Raises:
      UserError: invalid settings of the network or of crops.
    """
    check_network(config.model)
    Augment.of_part(config.data, "clips")


def _check_clip_length(config: ConfigDict, resumed: bool) -> None:
    """Checks that clips fit the temporal embedding and train each of its entries."""
    model, data = config.model, config.data
    clips = data.clips_per_batch + data.clips_2d_per_batch
    if not has_time_embedding(model):
        return
    if not clips:
        if model.clip_length > 1 and not config.init_from and not resumed:
            raise UserError(
                "single images train only the first frame of the temporal embedding, and "
                f"evaluation would use {model.clip_length} frames: set --config.model.clip_length=1"
            )
        return
    ours = f"config.data.clip_length={data.clip_length}"
    models = f"the model's config.model.clip_length={model.clip_length}"
    if data.clip_length > model.clip_length and not model.interpolate_time:
        raise UserError(
            f"{ours} is more than {models}: make them equal, or interpolate the temporal embedding "
            "for longer clips with --config.model.interpolate_time=true"
        )
    if data.clip_length < model.clip_length:
        raise UserError(
            f"{ours} is less than {models}: the temporal embedding of later frames would be used "
            "in evaluation but never trained; make them equal"
        )
