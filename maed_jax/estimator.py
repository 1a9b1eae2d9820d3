"""A trained model with its body: call it with clips."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.body.smpl import Body, keypoint_body, landmark_regressor
from maed_jax.data.images import CROP_MARGIN, network_input
from maed_jax.errors import UserError
from maed_jax.models.folding import fold_constants
from maed_jax.models.maed import MAED, Prediction


def check_finite(*answers: np.ndarray) -> None:
    """Raises: UserError: some number of a model's answers is not finite."""
    if not all(np.isfinite(answer).all() for answer in answers):
        raise UserError(
            "the model answers with numbers that are not finite: it has diverged; take an earlier "
            "checkpoint, or train at a lower learning rate"
        )


@functools.partial(jax.jit, static_argnames=("model", "vertices"))
def _apply(model: MAED, variables: Any, body: Body, clip: jax.Array, vertices: bool) -> Prediction:
    return model.apply(variables, network_input(clip), body, vertices=vertices)


@dataclasses.dataclass(frozen=True, eq=False)  # of arrays, it would be neither True nor False
class Estimator:
    """Maps clips of person crops to bodies. Compiled once for each shape of clip.

    Raises:
      UserError: the body came without what gives its keypoints.
    """

    model: MAED
    variables: Any = dataclasses.field(repr=False)
    """{"params": ..., "batch_stats": ...}, the latter with BatchNorm only"""
    body: Body = dataclasses.field(repr=False)
    margin: float = CROP_MARGIN
    """side of the crops that it was trained on, in longer sides of people's boxes"""
    interval: int = 8
    """frames from one of a clip to the next, in a video, as it was evaluated"""

    def __post_init__(self):
        landmark_regressor(self.body)  # complaints come before the work

    @property
    def image_size(self) -> int:
        """Side of the crops that the model takes, pixels."""
        return self.model.image_size

    @property
    def clip_length(self) -> int:
        """Frames of a clip as a rule: the most that the encoder's temporal embedding holds.

        Encoders without one, and with one that is spread over longer clips, take any length.
        """
        return self.model.clip_length

    def __call__(self, clip: jax.Array, *, vertices: bool = True) -> Prediction:
        """Reconstructs clips `[b t h w 3]`, RGB.

        clip: uint8 pixels, 0 to 255, or float32 that `maed_jax.data.images.normalise` made of them.

        Raises:
          UserError: an array of another type or shape, more frames than the model takes.
        """
        body = self.body if vertices else self._keypoint_body
        return _apply(*self.folded, body, clip, vertices)

    # Made at the first call and kept on the device: concrete arrays even when the first call
    # happens under a trace.

    @functools.cached_property
    def folded(self) -> tuple[MAED, dict[str, Any]]:
        """Model and variables that give the same answers sooner, see `models.folding`."""
        with jax.ensure_compile_time_eval():
            variables = jax.tree.map(jnp.asarray, self.variables)
            return fold_constants(self.model, variables, self.body)

    @functools.cached_property
    def _keypoint_body(self) -> Body:
        with jax.ensure_compile_time_eval():
            return keypoint_body(self.body)
