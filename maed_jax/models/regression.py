"""The output of every decoder, and the layers and initial values that decoders share."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.body.skeleton import JOINT_NAMES

# Initial values. The original starts near zero, where neither a 6D rotation nor a camera's depth
# is well defined; it can afford to because its encoder is pretrained.
IDENTITY = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)  # in 6D
UPRIGHT = (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)  # facing the camera, whose y axis points down
REST_POSE = (UPRIGHT, *(IDENTITY,) * (len(JOINT_NAMES) - 1))  # the pelvis rotates the whole body
MEAN_SHAPE = (0.0,) * 10
INITIAL_CAMERA = (0.9, 0.0, 0.0)  # the whole body is in view
HEAD_INIT = nn.initializers.variance_scaling(0.01**2, "fan_avg", "uniform")  # Xavier, gain 0.01

# Of pose, shape and camera, in this order in a vector.
SIZES = (6 * len(REST_POSE), len(MEAN_SHAPE), len(INITIAL_CAMERA))
VECTOR_SIZE = sum(SIZES)


class Regression(NamedTuple):
    """A decoder's output for each frame, with any leading axes."""

    pose6d: jax.Array
    """`[... joints 6]`, each joint's rotation in its parent's frame"""
    shape: jax.Array
    """`[... betas]`"""
    camera: jax.Array
    """`[... 3]`, scale and translation of the weak-perspective camera"""

    @classmethod
    def from_vector(cls, vector: jax.Array) -> Regression:
        """Splits `[... 157]` into pose, shape and camera, in this order."""
        pose_end, shape_end, _ = itertools.accumulate(SIZES)
        pose6d, shape, camera = jnp.split(vector, [pose_end, shape_end], axis=-1)
        return cls(rearrange(pose6d, "... (joints six) -> ... joints six", six=6), shape, camera)


def torch_linear(width: int, name: str) -> nn.Dense:
    """A layer whose kernel is initialised as in PyTorch's Linear: uniform in +-1 / sqrt(inputs).

    Its bias starts at zero, while PyTorch draws it from the same range.
    """
    uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    return nn.Dense(width, kernel_init=uniform, name=name)


def near_constant_linear(start: tuple[float, ...], name: str) -> nn.Dense:
    """A head whose initial output is nearly `start`."""

    def bias(key, shape, dtype):
        return jnp.asarray(start, dtype)

    return nn.Dense(len(start), kernel_init=HEAD_INIT, bias_init=bias, name=name)
