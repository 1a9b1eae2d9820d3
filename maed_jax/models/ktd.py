"""KTD, the kinematic topology decoder: pose along the kinematic tree (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.body.skeleton import ANCESTORS
from maed_jax.body.smpl import Body
from maed_jax.models.regression import (
    MEAN_SHAPE,
    REST_POSE,
    WHOLE_BODY,
    Regression,
    near_constant_linear,
    torch_linear,
)


def reading_order(reads: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The joints in an order in which each comes after all joints it reads.

    A joint also reads everything that its sources read, so sorting by the number of sources works.
    """
    return tuple(sorted(range(len(reads)), key=lambda joint: len(reads[joint])))


class KinematicTopologyDecoder(nn.Module):
    """Maps features `[... d]` to a `Regression`; joints read the feature and other joints' outputs.

    `reads` lists, for each joint, the joints that it reads, in order, including those that these
    read: its ancestors in any tree, with joints in any order, or its descendants
    (`skeleton.descendants`).
    """

    width: int = 1024
    dropout: float = 0.5
    reads: tuple[tuple[int, ...], ...] = ANCESTORS

    @nn.compact
    def __call__(self, feature: jax.Array, body: Body | None = None, *, train: bool) -> Regression:
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        x = dropout(torch_linear(self.width, "fc1")(feature))
        x = dropout(torch_linear(self.width, "fc2")(x))

        pose: dict[int, jax.Array] = {}
        for joint in reading_order(self.reads):
            inputs = jnp.concatenate([x, *(pose[other] for other in self.reads[joint])], axis=-1)
            pose[joint] = near_constant_linear(REST_POSE[joint], f"joint{joint}")(inputs)
        in_order = [pose[joint] for joint in range(len(pose))]
        return Regression(
            pose6d=rearrange(in_order, "joints ... six -> ... joints six"),
            shape=near_constant_linear(MEAN_SHAPE, "shape")(x),
            camera=near_constant_linear(WHOLE_BODY, "camera")(x),
        )
