"""KTD, the kinematic topology decoder: pose along the kinematic tree (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from maed_jax.body import skeleton
from maed_jax.body.smpl import Body
from maed_jax.models.regression import (
    INITIAL_CAMERA,
    MEAN_SHAPE,
    REST_POSE,
    Regression,
    near_constant_linear,
    torch_linear,
)


def ktd_ancestors(decoder: str, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """The ancestors of each joint in a variant of KTD, in the order of its inputs.

    - "ktd": in SMPL's tree.
    - "ktd_random": in a random tree, determined by `seed` (`skeleton.random_parents`); the paper
      does not say how it drew its tree.
    - "ktd_reverse": in SMPL's tree with parents and children swapped, that is, its descendants. So
      the five leaves come first and read only the feature; the pelvis comes last and reads all
      joints.
    """
    match decoder:
        case "ktd_random":
            return skeleton.ancestors(skeleton.random_parents(len(skeleton.PARENTS), seed))
        case "ktd_reverse":
            return skeleton.descendants(skeleton.PARENTS)
    return skeleton.ANCESTORS


def topological_order(ancestors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The joints in an order in which each comes after its ancestors.

    An ancestor's ancestors are the joint's too, so sorting by their number works.
    """
    return tuple(sorted(range(len(ancestors)), key=lambda joint: len(ancestors[joint])))


class KinematicTopologyDecoder(nn.Module):
    """Maps features `[... d]` to a `Regression`; joints read the feature and their ancestors' pose.

    `ancestors` lists those of each joint, in the order in which it reads them; see `ktd_ancestors`.
    """

    width: int = 1024
    dropout: float = 0.5
    ancestors: tuple[tuple[int, ...], ...] = skeleton.ANCESTORS

    @nn.compact
    def __call__(self, feature: jax.Array, body: Body | None = None, *, train: bool) -> Regression:
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        x = dropout(torch_linear(self.width, "fc1")(feature))
        x = dropout(torch_linear(self.width, "fc2")(x))

        pose: dict[int, jax.Array] = {}
        for joint in topological_order(self.ancestors):
            inputs = jnp.concatenate([x, *(pose[i] for i in self.ancestors[joint])], axis=-1)
            pose[joint] = near_constant_linear(REST_POSE[joint], f"joint{joint}")(inputs)
        return Regression(
            pose6d=jnp.stack([pose[joint] for joint in range(len(pose))], axis=-2),
            shape=near_constant_linear(MEAN_SHAPE, "shape")(x),
            camera=near_constant_linear(INITIAL_CAMERA, "camera")(x),
        )
