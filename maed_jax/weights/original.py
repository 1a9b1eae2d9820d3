"""Converts the original MAED's state dicts (PyTorch layouts) into our variables."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from maed_jax.body.files import Source, load_body
from maed_jax.body.smpl import Body
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.files.torch import load_torch
from maed_jax.models.attention import MODES
from maed_jax.models.maed import MAED, variable_shapes
from maed_jax.weights.arrays import inner_state_dict
from maed_jax.weights.layouts import join_faults, paper_model, take, torch_entry
from maed_jax.weights.report import Report

# The original's buffers that are not weights: the body, mean parameters, BatchNorm's counter.
NOT_WEIGHTS = re.compile(r".*(\bsmpl\.|\.init_\w+$|num_batches_tracked$)")

COUNTER = "num_batches_tracked"  # BatchNorm's; left out of reports

ENCODERS = ("ste", "cnn")
DECODERS = ("ktd", "iterative")


class Variant(NamedTuple):
    """The variant that the names in an original state dict identify."""

    encoder: str
    modes: tuple[str, ...]
    """all modes with these weights: some differ only in the computation"""
    decoder: str

    def __str__(self) -> str:
        *most, last = map(repr, self.modes)
        modes = f"{', '.join(most)} or {last}" if most else last
        mode = f", mode {modes}," if self.encoder == "ste" else ""
        return f"encoder {self.encoder!r}{mode} with decoder {self.decoder!r}"

    def includes(self, encoder: str, mode: str, decoder: str) -> bool:
        same = (encoder, decoder) == (self.encoder, self.decoder)
        return same and (encoder == "cnn" or mode in self.modes)


def variant_of(names: Iterable[str]) -> Variant | None:
    """Returns the original's variant whose entries have these names, or None."""
    modules = {".".join(name.split(".")[:2]) for name in names}
    decoders = {"decoder.joint_regs": "ktd", "decoder.decpose": "iterative"}
    decoder = next((value for key, value in decoders.items() if key in modules), None)
    if decoder and "encoder.layer1" in modules:
        return Variant("cnn", MODES, decoder)
    if decoder and "encoder.blocks" in modules:
        if any(".ts_attn." in name for name in names):
            modes = ("parallel",)
        elif "encoder.temp_embed" in modules:
            modes = ("series", "coupling", "parallel_v1")
        else:
            modes = ("vanilla", "temporal")
        return Variant("ste", modes, decoder)
    return None


def model_of(encoder: str, mode: str, decoder: str, sizes: Mapping[str, Any] | None = None) -> MAED:
    """Returns the original's network with these parts; `sizes` are other arguments of `MAED`.

    Raises:
      UserError: the original has no such part.
    """
    for what, value, choices in (
        ("encoder", encoder, ENCODERS),
        ("mode", mode, MODES),
        ("decoder", decoder, DECODERS),
    ):
        if value not in choices:
            raise UserError(
                f"the original has no {what} {value!r}; choose from {', '.join(choices)}"
            )
    return paper_model(encoder, mode, decoder, sizes)


def strip_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Removes the prefix "module." of data-parallel training from the names."""
    return {str(name).removeprefix("module."): value for name, value in state_dict.items()}


def weights_only(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Removes that prefix, and the buffers that are not weights."""
    state = strip_prefix(state_dict)
    return {name: value for name, value in state.items() if not NOT_WEIGHTS.match(name)}


def convert_original(
    state_dict: Mapping[str, Any], model: MAED, body: Body | None = None
) -> tuple[dict[str, Any], Report]:
    """Converts an original state dict into the variables of `model`, by collection, and a report.

    Args:
      state_dict: arrays or tensors; names may have the prefix "module." of data-parallel training.
      body: for decoders that start from its mean parameters.

    Raises:
      UserError: the weights are those of another variant, which the message names; entries are
        missing, surplus or of another shape; or the body lacks mean parameters that are needed.
    """
    state = weights_only(state_dict)
    chosen = f"encoder {model.encoder!r}, mode {model.mode!r}, decoder {model.decoder!r}"
    variant = variant_of(state)
    if variant and not variant.includes(model.encoder, model.mode, model.decoder):
        raise UserError(f"the weights do not fit {chosen}: they look like {variant}")
    entries = {p: torch_entry(p[1:], shape) for p, shape in variable_shapes(model, body).items()}
    variables, faults, surplus = take(state, entries)
    faults += [f"{name} is not part of the model" for name in surplus]
    if faults:
        raise UserError(f"the weights do not fit {chosen}: {join_faults(faults)}")
    report = Report(
        source=f"the original's {variant}",
        taken=["/".join(path[1:]) for path in variables],
        numbers=sum(array.size for array in variables.values()),
        anew=[],
        left_out=[n for n in strip_prefix(state_dict) if n not in state and COUNTER not in n],
        notes=[],
    )
    return traverse_util.unflatten_dict(variables), report


def with_means(body: Body, state_dict: Mapping[str, Any]) -> Body:
    """Returns the body with the checkpoint's mean parameters, where it has them.

    Raises:
      UserError: they have the wrong size.
    """
    state, means = strip_prefix(state_dict), {}
    for field, name, size in (
        ("mean_pose6d", "decoder.init_pose", 144),
        ("mean_shape", "decoder.init_shape", 10),
        ("mean_camera", "decoder.init_cam", 3),
    ):
        if name in state:
            value = np.asarray(state[name], np.float32).reshape(-1)
            if value.size != size:
                raise UserError(f"{name} has {value.size} numbers instead of {size}")
            means[field] = jax.device_put(value)
    return dataclasses.replace(body, **means) if means else body


def means_differ(body: Body, other: Body) -> bool:
    pairs = (
        (getattr(body, field), getattr(other, field))
        for field in ("mean_pose6d", "mean_shape", "mean_camera")
    )
    return any(
        a is not b and (a is None or b is None or not np.allclose(a, b, atol=1e-5))
        for a, b in pairs
    )


def from_torch(
    state_dict_or_path: Mapping[str, Any] | str | Path,
    *,
    body: Source,
    encoder: str = "ste",
    mode: str = "parallel",
    decoder: str = "ktd",
) -> Estimator:
    """Returns an estimator with the weights of the original implementation.

    Args:
      state_dict_or_path: a state dict, or a checkpoint file (`.pth.tar`, `.pth`, `.pt`) that holds
        one, possibly under "state_dict". Only tensors and plain containers are ever constructed
        from a file.
      body: a `Body`, a path, or a mapping with SMPL's own keys (see `maed_jax.load_body`). The
        iterative decoder starts from its mean parameters unless the checkpoint has its own.
      encoder: "ste", or "cnn", the plain ResNet-50.
      mode: attention of the blocks of "ste": "parallel", "series", "coupling", "vanilla" or
        "temporal"; "parallel_v1" is "parallel" without the gate. Ignored for "cnn".
      decoder: "ktd" or "iterative".

    Returns:
      The estimator, which takes clips `[b t 224 224 3]`.

    Raises:
      UserError: there is no such variant; the file cannot be read; the weights do not fit the
        variant; the decoder lacks the mean parameters that it needs.
    """
    model = model_of(encoder, mode, decoder)
    state = state_dict_or_path
    if isinstance(state, (str, Path)):
        state = load_torch(state)
    state = inner_state_dict(state)
    body = with_means(load_body(body), state)
    variables, _ = convert_original(state, model, body)
    return Estimator(model, variables, body)
