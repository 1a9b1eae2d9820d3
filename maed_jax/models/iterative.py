"""The iterative feedback regressor of HMR and SPIN, which the paper compares KTD with (Table 2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.body import smpl
from maed_jax.errors import UserError
from maed_jax.models.regression import Regression, timid_linear, torch_linear


class IterativeDecoder(nn.Module):
    """Features `[... d]` to a `Regression`: a few rounds of corrections to the body's mean.

    A round reads the feature and the current pose, shape and camera, and adds to each of the three;
    all rounds share their layers. As there is no activation, the whole is an affine map while
    dropout is off. The original draws the heads' biases as PyTorch does; here they are zero, so
    that training starts at the mean itself.

    Raises:
      UserError: the body came without its mean parameters.
    """

    width: int = 1024
    dropout: float = 0.5
    rounds: int = 3

    @nn.compact
    def __call__(self, feature: jax.Array, body: smpl.Body | None, *, train: bool) -> Regression:
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        fc1, fc2 = torch_linear("fc1", self.width), torch_linear("fc2", self.width)
        heads = tuple(
            timid_linear(name, (0.0,) * size)
            for name, size in (("pose", 144), ("shape", 10), ("camera", 3))
        )

        current = [
            jnp.broadcast_to(mean, (*feature.shape[:-1], mean.size)) for mean in self._mean(body)
        ]
        for _ in range(self.rounds):
            x = dropout(fc1(jnp.concatenate([feature, *current], axis=-1)))
            x = dropout(fc2(x))
            current = [value + head(x) for value, head in zip(current, heads)]
        pose6d, shape, camera = current
        return Regression(
            rearrange(pose6d, "... (joints six) -> ... joints six", six=6), shape, camera
        )

    def _mean(self, body: smpl.Body | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        if body is None and self.is_initializing():
            return jnp.zeros(144), jnp.zeros(10), jnp.zeros(3)  # parameters do not depend on it
        if body is None or any(
            mean is None for mean in (body.mean_pose6d, body.mean_shape, body.mean_camera)
        ):
            raise UserError(
                "the decoder 'iterative' starts from the body's mean parameters, which this body "
                "came without; put smpl_mean_params.npz beside the body's file, or choose the "
                "decoder 'ktd'"
            )
        return smpl.mean_params(body)
