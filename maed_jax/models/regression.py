"""What every decoder answers, and the layers and starting values that decoders share."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

# Where training starts. The original starts near zero, where neither a 6D rotation nor the depth of
# a camera is well defined; with its pretrained encoder it gets away with that.
REST = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
UPRIGHT = (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)  # facing the camera, whose y axis points down
MEAN_SHAPE = (0.0,) * 10
WHOLE_BODY = (0.9, 0.0, 0.0)  # a camera that shows it


class Regression(NamedTuple):
    """What a decoder answers for each frame, any leading axes."""

    pose6d: jax.Array
    """`[... joints 6]`, each joint's rotation in its parent's frame"""
    shape: jax.Array
    """`[... betas]`"""
    camera: jax.Array
    """`[... 3]`, scale and translation of the weak-perspective camera"""


def torch_linear(name: str, width: int) -> nn.Dense:
    """A layer that starts as PyTorch's Linear does: uniform within 1 / sqrt(inputs)."""
    uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    return nn.Dense(width, kernel_init=uniform, name=name)


def timid_linear(name: str, start: tuple[float, ...]) -> nn.Dense:
    """A head that answers nearly `start` at first: Xavier-uniform weights of gain 0.01."""
    small = nn.initializers.variance_scaling(0.01**2, "fan_avg", "uniform")

    def bias(key, shape, dtype):
        return jnp.asarray(start, dtype)

    return nn.Dense(len(start), kernel_init=small, bias_init=bias, name=name)
