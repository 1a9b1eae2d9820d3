"""Other people's weights: the original MAED's state dicts (PyTorch layouts) to our parameters."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from maed_jax.body.files import load_body
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.models.maed import MAED
from maed_jax.torch_files import load_torch

# Ours on the left (a regular expression over the path of a parameter), the original's on the right.
NAMES = (
    (r"encoder/token", "encoder.cls_token"),
    (r"encoder/space_embedding", "encoder.pos_embed"),
    (r"encoder/time_embedding", "encoder.temp_embed"),
    (r"encoder/root/conv_root", "encoder.patch_embed.backbone.stem.conv"),
    (r"encoder/root/gn_root", "encoder.patch_embed.backbone.stem.norm"),
    (r"encoder/root/block(\d+)/unit(\d+)/conv_proj", "{stage}.downsample.conv"),
    (r"encoder/root/block(\d+)/unit(\d+)/gn_proj", "{stage}.downsample.norm"),
    (r"encoder/root/block(\d+)/unit(\d+)/conv(\d)", "{stage}.conv{2}"),
    (r"encoder/root/block(\d+)/unit(\d+)/gn(\d)", "{stage}.norm{2}"),
    (r"encoder/embedding", "encoder.patch_embed.proj"),
    (r"encoder/block(\d+)/norm(\d)", "encoder.blocks.{0}.norm{1}"),
    (r"encoder/block(\d+)/attention/gate", "encoder.blocks.{0}.attn.ts_attn"),
    (r"encoder/block(\d+)/attention/(\w+)", "encoder.blocks.{0}.attn.{1}"),
    (r"encoder/block(\d+)/mlp/(\w+)", "encoder.blocks.{0}.mlp.{1}"),
    (r"encoder/norm", "encoder.norm"),
    (r"encoder/pre_logits", "encoder.pre_logits.fc"),
    (r"decoder/(fc\d)", "decoder.{0}"),
    (r"decoder/joint(\d+)", "decoder.joint_regs.{0}"),
    (r"decoder/shape", "decoder.decshape"),
    (r"decoder/camera", "decoder.deccam"),
)
LEAVES = {"kernel": ".weight", "scale": ".weight", "bias": ".bias", "": ""}

# Buffers of the original that are not weights: the body, the mean parameters, BatchNorm's counter.
NOT_WEIGHTS = re.compile(r".*(\bsmpl\.|\.init_\w+$|num_batches_tracked$)")


def torch_name(path: tuple[str, ...]) -> str:
    """The original's name of the parameter at `path` in our tree."""
    module, leaf = ("/".join(path[:-1]), path[-1]) if path[-1] in LEAVES else ("/".join(path), "")
    for pattern, name in NAMES:
        if match := re.fullmatch(pattern, module):
            groups = match.groups()
            if "{stage}" in name:
                stage, unit = int(groups[0]) - 1, int(groups[1]) - 1
                where = f"encoder.patch_embed.backbone.stages.{stage}.blocks.{unit}"
                return name.replace("{stage}", where).format(*groups) + LEAVES[leaf]
            return name.format(*groups) + LEAVES[leaf]
    raise ValueError(f"{'/'.join(path)} has no counterpart in the original")


def torch_layouts(
    path: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray]]:
    """The shape that the parameter at `path` has in the original, and the way to ours."""
    if path == ("encoder", "embedding", "kernel"):  # a 1x1 convolution there
        return (shape[1], shape[0], 1, 1), lambda w: w[:, :, 0, 0].T
    if path[-1] == "kernel" and len(shape) == 4:
        h, w, inputs, outputs = shape
        return (outputs, inputs, h, w), lambda w: w.transpose(2, 3, 1, 0)
    if path[-1] == "kernel":
        return shape[::-1], lambda w: w.T
    if path[-1] in ("token", "space_embedding"):
        return shape[1:], lambda w: w[None]
    return shape, lambda w: w


def parameter_shapes(model: MAED) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of each parameter of `model`, found without computing any."""
    clip = jax.ShapeDtypeStruct((1, 1, model.image_size, model.image_size, 3), jnp.float32)
    init = functools.partial(model.init, method="regress")
    variables = jax.eval_shape(init, jax.random.key(0), clip, None)
    flat = traverse_util.flatten_dict(variables["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


def convert_state_dict(state_dict: Mapping[str, Any], model: MAED) -> dict[str, Any]:
    """The parameters of `model` from a state dict of the original.

    Names may carry the prefix "module." of data-parallel training. Values are arrays or tensors.

    Raises:
      UserError: entries are missing, surplus or of another shape; all are named.
    """
    state = {name.removeprefix("module."): value for name, value in state_dict.items()}
    state = {name: value for name, value in state.items() if not NOT_WEIGHTS.match(name)}
    params, faults = {}, []
    for path, shape in parameter_shapes(model).items():
        name = torch_name(path)
        expected, ours = torch_layouts(path, shape)
        if name not in state:
            faults.append(f"{name} is missing")
            continue
        value = np.asarray(state.pop(name), np.float32)
        if value.shape != expected:
            faults.append(f"{name} has shape {value.shape} in place of {expected}")
            continue
        params[path] = jnp.asarray(ours(value))
    faults += [f"{name} is not part of the model" for name in state]
    if faults:
        raise UserError(
            f"the weights do not fit the model (mode {model.mode!r}, decoder {model.decoder!r}): "
            + "; ".join(faults)
        )
    return traverse_util.unflatten_dict(params)


def from_torch(
    state_dict_or_path: Mapping[str, Any] | str | Path,
    *,
    body: Any,
    encoder: str = "ste",
    mode: str = "parallel",
    decoder: str = "ktd",
) -> Estimator:
    """An estimator with the weights of the original implementation.

    Args:
      state_dict_or_path: a state dict, or a checkpoint file (`.pth.tar`, `.pth`, `.pt`), in which
        it may stand under "state_dict". Only tensors and plain containers are ever constructed
        from a file.
      body: a `Body`, a path, or a mapping with SMPL's own keys (see `maed_jax.load_body`).
      encoder: "ste".
      mode: attention of the encoder's blocks: "parallel", "series", "coupling", "vanilla" or
        "temporal".
      decoder: "ktd".

    Returns:
      A callable on float32 clips `[b t 224 224 3]`, ImageNet-normalised, that gives a `Prediction`.

    Raises:
      UserError: no such variant; a file that cannot be read; weights that do not fit the variant.
    """
    for what, value, known in (
        ("encoder", encoder, ("ste",)),
        ("mode", mode, ("parallel", "series", "coupling", "vanilla", "temporal")),
        ("decoder", decoder, ("ktd",)),
    ):
        if value not in known:
            raise UserError(f"there is no {what} {value!r}; choose from {', '.join(known)}")
    state = state_dict_or_path
    if isinstance(state, (str, Path)):
        state = load_torch(state)
    if not isinstance(state, Mapping):
        raise UserError("the checkpoint holds no state dict")
    state = state.get("state_dict", state)
    model = MAED(mode=mode, decoder=decoder)
    return Estimator(model, convert_state_dict(state, model), load_body(body))
