"""Prepares a model for inference: computes once all that depends only on its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from maed_jax.body.smpl import Body
from maed_jax.models.decoders import make_decoder
from maed_jax.models.maed import MAED
from maed_jax.models.regression import VECTOR
from maed_jax.models.resnet import standardise_kernels


def fold_constants(
    model: MAED, variables: Mapping[str, Any], body: Body | None
) -> tuple[MAED, dict[str, Any]]:
    """Standardises the kernels of a model's root and folds its decoder.

    Outputs are the same up to float32 rounding. The result is not for training.

    Args:
      model: a `MAED`.
      variables: its {"params": ...}, and "batch_stats" if it has BatchNorm.
      body: the body whose mean the decoder "iterative" starts from; fold again for another body.

    Raises:
      UserError: the decoder is "iterative" and the body has no mean parameters.
    """
    model, params = fold_decoder(model, variables["params"], body)
    encoder = params["encoder"]
    if "root" in encoder:
        root = jax.jit(standardise_kernels)(encoder["root"])
        params |= {"encoder": {**encoder, "root": root}}
    return model, {**variables, "params": params}


def fold_decoder(
    model: MAED, params: Mapping[str, Any], body: Body | None
) -> tuple[MAED, dict[str, Any]]:
    """Folds a model's decoder into one matrix; see `fold_constants`.

    "vanilla" is not affine and is returned unchanged.
    """
    if model.decoder in ("vanilla", "folded"):
        return model, dict(params)
    inputs = params["decoder"]["fc1"]["kernel"].shape[0]
    feature_dim = inputs - VECTOR if model.decoder == "iterative" else inputs
    folding = jax.jit(fold, static_argnums=(0, 2))
    folded = folding(make_decoder(model), params["decoder"], feature_dim, body)
    return model.clone(decoder="folded"), {**params, "decoder": folded}


def fold(
    decoder: nn.Module, params: Mapping[str, Any], feature_dim: int, body: Body | None = None
) -> dict[str, jax.Array]:
    """Folds a decoder without activations into the affine map that it is without dropout.

    KTD is affine for any tree, the iterative decoder for a given body's mean. The matrix is the
    decoder's derivative, so nothing cancels: outputs are equal up to float32 rounding.

    Args:
      decoder: a `KinematicTopologyDecoder` or an `IterativeDecoder`.
      params: its parameters.
      feature_dim: dimension d of the features.
      body: the body whose mean the iterative decoder starts from.

    Returns:
      The parameters of a `FoldedDecoder`, "kernel" `[d 157]` and "bias" `[157]`.
    """

    def vector(feature: jax.Array) -> jax.Array:
        return decoder.apply({"params": params}, feature, body, train=False).to_vector()

    with jax.default_matmul_precision("highest"):
        bias, derivative = jax.linearize(vector, jnp.zeros(feature_dim))
        return {"kernel": jax.vmap(derivative)(jnp.eye(feature_dim)), "bias": bias}
