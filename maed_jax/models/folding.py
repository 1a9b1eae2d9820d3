"""A model for inference: what depends on its parameters alone is computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from maed_jax.body.smpl import Body
from maed_jax.models.decoders import make_decoder
from maed_jax.models.folded import fold
from maed_jax.models.maed import MAED
from maed_jax.models.regression import VECTOR
from maed_jax.models.resnet import standardise_kernels


def fold_constants(
    model: MAED, variables: Mapping[str, Any], body: Body | None
) -> tuple[MAED, dict[str, Any]]:
    """The same model with the kernels of its root standardised and its decoder folded.

    Answers are the same up to float32's rounding. They are not for training.

    Args:
      model: a `MAED`.
      variables: its {"params": ...}, with "batch_stats" where it has BatchNorm.
      body: whose mean the decoder "iterative" starts from; another body needs another folding.

    Raises:
      UserError: the decoder "iterative" and a body without its mean parameters.
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
    """The same model with its decoder folded into one matrix; see `fold_constants`.

    "vanilla" is not affine: it comes back as it was.
    """
    if model.decoder in ("vanilla", "folded"):
        return model, dict(params)
    inputs = params["decoder"]["fc1"]["kernel"].shape[0]
    feature_dim = inputs - VECTOR if model.decoder == "iterative" else inputs
    folding = jax.jit(fold, static_argnums=(0, 2))
    affine = folding(make_decoder(model), params["decoder"], feature_dim, body)
    return model.clone(decoder="folded"), {**params, "decoder": affine._asdict()}
