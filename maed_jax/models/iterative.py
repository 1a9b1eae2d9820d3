"""The iterative feedback regressor of HMR and SPIN, the paper's baseline for KTD (Table 2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.errors import UserError
from maed_jax.models.regression import SIZES, Regression, near_constant_linear, torch_linear


class IterativeDecoder(nn.Module):
    """Maps features `[... d]` to a `Regression` by correcting the body's mean a few times.

    Each round reads the feature and the current pose, shape and camera, and adds a correction to
    these three; all rounds share their layers. There are no activations, so without dropout the
    decoder is an affine map. The original initialises the heads' biases as PyTorch does; here they
    are zero, so that training starts at the mean itself.

    Raises:
      UserError: the body has no mean parameters.
    """

    width: int = 1024
    dropout: float = 0.5
    rounds: int = 3

    @nn.compact
    def __call__(self, feature: jax.Array, body: Body | None, *, train: bool) -> Regression:
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        fc1, fc2 = torch_linear(self.width, "fc1"), torch_linear(self.width, "fc2")
        heads = tuple(
            near_constant_linear((0.0,) * size, name)
            for name, size in zip(("pose", "shape", "camera"), SIZES)
        )

        current = [
            jnp.broadcast_to(mean, (*feature.shape[:-1], mean.size)) for mean in self._mean(body)
        ]
        for _ in range(self.rounds):
            x = dropout(fc1(jnp.concatenate([feature, *current], axis=-1)))
            x = dropout(fc2(x))
            current = [value + head(x) for value, head in zip(current, heads)]
        return Regression.from_vector(jnp.concatenate(current, axis=-1))

    def _mean(self, body: Body | None) -> tuple[jax.Array, ...]:
        if body is None and self.is_initializing():
            return tuple(jnp.zeros(size) for size in SIZES)  # parameters do not depend on it
        means = (None,)
        if body is not None:
            means = (body.mean_pose6d, body.mean_shape, body.mean_camera)
        if any(mean is None for mean in means):
            raise UserError(
                "the decoder 'iterative' starts from the body's mean parameters, which this body "
                "lacks; put smpl_mean_params.npz next to the body's file, or choose the decoder "
                "'ktd'"
            )
        return means
