"""`Estimator`: a trained model with its body, called on clips."""

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
from maed_jax.models.maed import MAED, Prediction, for_inference


def check_finite(*answers: np.ndarray) -> None:
    """Raises: UserError: some of a model's outputs are not finite."""
    if not all(np.isfinite(answer).all() for answer in answers):
        raise UserError(
            "the model's output is not finite: its training has diverged; use an earlier "
            "checkpoint, or train with a lower learning rate"
        )


@functools.partial(jax.jit, static_argnames=("model", "vertices"))
def _apply(model: MAED, variables: Any, body: Body, clip: jax.Array, vertices: bool) -> Prediction:
    return model.apply(variables, network_input(clip), body, vertices=vertices)


@dataclasses.dataclass(frozen=True, eq=False)  # == on arrays has no single truth value
class Estimator:
    """Maps clips of person crops to bodies. Compiles once per clip shape.

    Raises:
      UserError: the body has no landmark regressor.
    """

    model: MAED
    variables: Any = dataclasses.field(repr=False)
    """{"params": ..., "batch_stats": ...}, the latter only with BatchNorm"""
    body: Body = dataclasses.field(repr=False)
    margin: float = CROP_MARGIN
    """side of the crops it was trained on, as a multiple of the longer side of a person's box"""
    interval: int = 8
    """video frames from one frame of a clip to the next, as in its evaluation"""

    def __post_init__(self):
        landmark_regressor(self.body)  # fail early

    @property
    def image_size(self) -> int:
        """Side of the model's input crops, pixels."""
        return self.model.image_size

    @property
    def clip_length(self) -> int:
        """Normal number of frames per clip: the length of the encoder's temporal embedding.

        Encoders without such an embedding, or that interpolate it, accept clips of any length.
        """
        return self.model.clip_length

    def __call__(self, clip: jax.Array, *, vertices: bool = True) -> Prediction:
        """Reconstructs clips `[b t h w 3]`, RGB.

        Args:
          clip: uint8 pixels, 0 to 255, or the float32 output of `maed_jax.data.images.normalise`.
          vertices: whether to return the mesh too.

        Raises:
          UserError: wrong dtype or shape, or more frames than the model accepts.
        """
        body = self.body if vertices else self._keypoint_body
        return _apply(self.model, self.inference_variables, body, clip, vertices)

    # Computed at the first call and kept on the device, as concrete arrays even if that call is
    # being traced.

    @functools.cached_property
    def inference_variables(self) -> dict[str, Any]:
        """Variables with which the model computes the same in less time; see `for_inference`."""
        with jax.ensure_compile_time_eval():
            return for_inference(jax.tree.map(jnp.asarray, self.variables))

    @functools.cached_property
    def _keypoint_body(self) -> Body:
        with jax.ensure_compile_time_eval():
            return keypoint_body(self.body)
