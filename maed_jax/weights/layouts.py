"""Maps our arrays to those in other people's files, and takes them from there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from maed_jax.models.checks import check_network
from maed_jax.models.maed import MAED

# Our paths without the leaf (regular expressions) -> the original's names.
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
    (r"encoder/((?:conv|bn)\d)", "encoder.{0}"),
    (r"encoder/layer(\d+)_(\d+)/downsample_conv", "encoder.layer{0}.{1}.downsample.0"),
    (r"encoder/layer(\d+)_(\d+)/downsample_bn", "encoder.layer{0}.{1}.downsample.1"),
    (r"encoder/layer(\d+)_(\d+)/((?:conv|bn)\d)", "encoder.layer{0}.{1}.{2}"),
    (r"decoder/(fc\d)", "decoder.{0}"),
    (r"decoder/joint(\d+)", "decoder.joint_regs.{0}"),
    (r"decoder/pose", "decoder.decpose"),
    (r"decoder/shape", "decoder.decshape"),
    (r"decoder/camera", "decoder.deccam"),
)
LEAVES = {
    **{"kernel": ".weight", "scale": ".weight", "bias": ".bias", "": ""},
    **{"mean": ".running_mean", "var": ".running_var"},  # BatchNorm's, in "batch_stats"
}
MAX_FAULTS = 10  # listed in one message


class Entry(NamedTuple):
    """Where one of our arrays is in someone else's file."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    """of each of these arrays in the file"""
    convert: Callable[..., np.ndarray]
    """converts them to our array"""


def torch_name(path: tuple[str, ...]) -> str:
    """Returns the original's name of our array at `path` (without its collection)."""
    module, leaf = ("/".join(path[:-1]), path[-1]) if path[-1] in LEAVES else ("/".join(path), "")
    for pattern, name in NAMES:
        if match := re.fullmatch(pattern, module):
            groups = match.groups()
            if "{stage}" in name:
                stage, unit = int(groups[0]) - 1, int(groups[1]) - 1
                prefix = f"encoder.patch_embed.backbone.stages.{stage}.blocks.{unit}"
                return name.replace("{stage}", prefix).format(*groups) + LEAVES[leaf]
            return name.format(*groups) + LEAVES[leaf]
    raise ValueError(f"{'/'.join(path)} has no counterpart in the original")


def torch_entry(path: tuple[str, ...], shape: tuple[int, ...]) -> Entry:
    """Returns where our array at `path`, of shape `shape`, is in the original's state dict."""
    names = (torch_name(path),)
    if path == ("encoder", "embedding", "kernel"):  # a 1x1 convolution in the original
        return Entry(names, (shape[1], shape[0], 1, 1), lambda w: w[:, :, 0, 0].T)
    if path[-1] == "kernel" and len(shape) == 4:
        h, w, inputs, outputs = shape
        return Entry(names, (outputs, inputs, h, w), lambda w: w.transpose(2, 3, 1, 0))
    if path[-1] == "kernel":
        return Entry(names, shape[::-1], lambda w: w.T)
    if path[-1] in ("token", "space_embedding"):
        return Entry(names, shape[1:], lambda w: w[None])
    return Entry(names, shape, lambda w: w)


def paper_model(
    encoder: str, mode: str, decoder: str, sizes: Mapping[str, Any] | None = None
) -> MAED:
    """Returns the paper's network with these parts; `sizes` are other arguments of `MAED`.

    Raises:
      UserError: there is no such part, or a size is impossible.
    """
    root = {"stage_sizes": (3, 4, 6, 3)} if encoder == "cnn" else {}
    model = MAED(encoder=encoder, mode=mode, decoder=decoder, **(root | dict(sizes or {})))
    check_network(model)
    return model


def take(
    state: Mapping[str, Any], entries: Mapping[tuple[str, ...], Entry]
) -> tuple[dict[tuple[str, ...], jax.Array], list[str], list[str]]:
    """Takes from `state` the arrays that `entries` name.

    Returns:
      The arrays (float32) by our paths, what is wrong with others, and the names left unused.
    """
    taken, faults, unused = {}, [], dict.fromkeys(state)
    for path, entry in entries.items():
        values = []
        for name in entry.names:
            unused.pop(name, None)
            if name not in state:
                faults.append(f"{name} is missing")
                continue
            value = np.asarray(state[name])
            if value.shape != entry.shape:
                faults.append(f"{name} has shape {value.shape} instead of {entry.shape}")
            else:
                values.append(value.astype(np.float32, copy=False))
        if len(values) == len(entry.names):
            taken[path] = jax.device_put(entry.convert(*values))
    return taken, faults, list(unused)


def join_faults(faults: list[str]) -> str:
    """Joins the faults into the end of a sentence."""
    more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return "; ".join(faults[:MAX_FAULTS]) + more
