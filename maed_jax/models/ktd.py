"""KTD, the kinematic topology decoder: pose along the tree of joints (paper, section 3.3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.body.skeleton import ANCESTORS
from maed_jax.body.smpl import Body
from maed_jax.models.regression import (
    MEAN_SHAPE,
    REST,
    UPRIGHT,
    WHOLE_BODY,
    Regression,
    timid_linear,
    torch_linear,
)


class KinematicTopologyDecoder(nn.Module):
    """Features `[... d]` to a `Regression`: a joint reads the feature and its ancestors' rotations.

    `ancestors` holds, for each joint, its ancestors from the root down; joints come parents first.
    """

    width: int = 1024
    dropout: float = 0.5
    ancestors: tuple[tuple[int, ...], ...] = ANCESTORS

    @nn.compact
    def __call__(self, feature: jax.Array, body: Body | None = None, *, train: bool) -> Regression:
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        x = dropout(torch_linear("fc1", self.width)(feature))
        x = dropout(torch_linear("fc2", self.width)(x))

        pose: list[jax.Array] = []
        for joint, ancestors in enumerate(self.ancestors):
            inputs = jnp.concatenate([x, *(pose[a] for a in ancestors)], axis=-1)
            start = REST if ancestors else UPRIGHT
            pose.append(timid_linear(f"joint{joint}", start)(inputs))
        return Regression(
            pose6d=rearrange(pose, "joints ... six -> ... joints six"),
            shape=timid_linear("shape", MEAN_SHAPE)(x),
            camera=timid_linear("camera", WHOLE_BODY)(x),
        )
