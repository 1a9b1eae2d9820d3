"""Decoders without activations as the one matrix that they are, for inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.models.parameters import Module
from maed_jax.models.regression import VECTOR, Regression


class Affine(NamedTuple):
    """A decoder in one matrix; call it with features `[... d]` to get a `Regression`."""

    kernel: jax.Array
    """`[d 157]`, columns pose (24 x 6), shape (10) and camera (3)"""
    bias: jax.Array
    """`[157]`"""

    def __call__(self, feature: jax.Array) -> Regression:
        return Regression.from_vector(feature @ self.kernel + self.bias)


def fold(
    decoder: nn.Module, params: Mapping[str, Any], feature_dim: int, body: Body | None = None
) -> Affine:
    """A decoder without activations as the one affine map that it is while dropout is off.

    That holds for KTD on any tree, and for the iterative decoder with the mean of a given body.
    The matrix is the decoder's derivative, so nothing cancels: equal up to float32's rounding.

    Args:
      decoder: a `KinematicTopologyDecoder` or an `IterativeDecoder`.
      params: its parameters.
      feature_dim: how many numbers a feature has.
      body: whose mean the iterative decoder starts from.
    """

    def vector(feature: jax.Array) -> jax.Array:
        return decoder.apply({"params": params}, feature, body, train=False).to_vector()

    with jax.default_matmul_precision("highest"):
        bias, derivative = jax.linearize(vector, jnp.zeros(feature_dim))
        return Affine(jax.vmap(derivative)(jnp.eye(feature_dim)), bias)


class FoldedDecoder(Module):
    """What `fold` makes, as a decoder with the parameters "kernel" and "bias" of an `Affine`."""

    @nn.compact
    def __call__(self, feature: jax.Array, body: Body | None = None, *, train: bool) -> Regression:
        init = nn.initializers.zeros  # these parameters are made by folding, never trained
        kernel = self.param("kernel", init, (feature.shape[-1], VECTOR))
        return Affine(kernel, self.param("bias", init, (VECTOR,)))(feature)
