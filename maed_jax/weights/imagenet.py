"""Converts ImageNet weights, which training starts from, into our encoders.

timm's and Google's files of the hybrid R50+ViT-B/16 (ImageNet-21k) hold the same numbers in two
layouts and give the same variables. MAED takes the first 6 of the 12 blocks. The computation stays
MAED's: exact GELU and an epsilon of 1e-5 in GroupNorm, where Google's code has the tanh
approximation and 1e-6.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from maed_jax.body.smpl import Body
from maed_jax.compiler_options import hastily
from maed_jax.errors import UserError
from maed_jax.models.maed import MAED, variable_shapes
from maed_jax.weights.layouts import Entry, join_faults, take, torch_entry
from maed_jax.weights.report import Report

# Parameters that only MAED has, or that depend on the task.
ANEW = re.compile(r"encoder/time_embedding|encoder/block\d+/attention/gate/\w+|decoder/.*")
# Later releases of timm dropped this layer from the hybrid.
ANEW_WHERE_MISSING = re.compile(r"encoder/pre_logits/\w+")

GOOGLE_NAMES = (
    (r"encoder/token", "cls"),
    (r"encoder/space_embedding", "Transformer/posembed_input/pos_embedding"),
    (r"encoder/root/(.*)", r"\1"),
    (r"encoder/block(\d+)/norm1/(\w+)", r"Transformer/encoderblock_\1/LayerNorm_0/\2"),
    (r"encoder/block(\d+)/norm2/(\w+)", r"Transformer/encoderblock_\1/LayerNorm_2/\2"),
    (r"encoder/block(\d+)/attention/proj/(\w+)", r"Transformer/encoderblock_\1/{attention}/out/\2"),
    (r"encoder/block(\d+)/attention/qkv/(\w+)", r"Transformer/encoderblock_\1/{attention}/{}/\2"),
    (r"encoder/block(\d+)/mlp/fc1/(\w+)", r"Transformer/encoderblock_\1/MlpBlock_3/Dense_0/\2"),
    (r"encoder/block(\d+)/mlp/fc2/(\w+)", r"Transformer/encoderblock_\1/MlpBlock_3/Dense_1/\2"),
    (r"encoder/norm/(\w+)", r"Transformer/encoder_norm/\1"),
    (r"encoder/(embedding|pre_logits)/(\w+)", r"\1/\2"),
)
ATTENTION = "MultiHeadDotProductAttention_1"
# Later versions of Flax number each kind of layer separately; the published file numbers them all.
NEWER_FLAX = {
    "/LayerNorm_1/": "/LayerNorm_2/",
    "/MlpBlock_0/": "/MlpBlock_3/",
    "/MultiHeadDotProductAttention_0/": f"/{ATTENTION}/",
}


def as_published(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns Google's arrays under their published names."""

    def published(name: str) -> str:
        for newer, older in NEWER_FLAX.items():
            name = name.replace(newer, older)
        return name

    return {published(name): state[name] for name in state}


def google_entry(path: tuple[str, ...], shape: tuple[int, ...], heads: int) -> Entry | None:
    """Returns where our array at `path` is in Google's file, or None if it is not there."""
    ours, name = "/".join(path), None
    for pattern, theirs in GOOGLE_NAMES:
        if re.fullmatch(pattern, ours):
            name = re.sub(pattern, theirs, ours).replace("{attention}", ATTENTION)
            break
    if name is None:
        return None

    def reshaped(w: np.ndarray) -> np.ndarray:
        return w.reshape(shape)

    if "{}" in name:  # separate queries, keys and values, each with an axis for the heads
        *inputs, d = shape
        names = tuple(name.format(part) for part in ("query", "key", "value"))
        split = (*inputs, heads, d // 3 // heads)

        def fused(*parts: np.ndarray) -> np.ndarray:
            return np.concatenate([w.reshape(*inputs, -1) for w in parts], axis=-1)

        return Entry(names, split, fused)
    if ours.endswith("attention/proj/kernel"):
        return Entry((name,), (heads, shape[0] // heads, shape[1]), reshaped)
    if ours == "encoder/embedding/kernel":
        return Entry((name,), (1, 1, *shape), reshaped)
    if path[1] == "root" and len(shape) == 1:
        return Entry((name,), (1, 1, 1, *shape), reshaped)
    if path[-1] in ("token", "space_embedding"):
        return Entry((name,), shape[1:], reshaped)
    return Entry((name,), shape, reshaped)


def torch_encoder_entry(path: tuple[str, ...], shape: tuple[int, ...], heads: int) -> Entry | None:
    """Like `google_entry`, for timm and torchvision, whose names MAED's encoders keep."""
    try:
        entry = torch_entry(path, shape)
    except ValueError:
        return None
    return entry._replace(names=tuple(n.removeprefix("encoder.") for n in entry.names))


class Source(NamedTuple):
    """A source of ImageNet weights."""

    title: str
    encoders: tuple[str, ...]
    """our encoders that can start from them"""
    entry: Callable[..., Entry | None]
    marks: tuple[str, ...]
    """array names that identify the file"""


SOURCES = {
    "timm": Source(
        "timm's vit_base_resnet50_224_in21k (ImageNet-21k)",
        ("ste", "te"),
        torch_encoder_entry,
        ("patch_embed.backbone.stem.conv.weight", "blocks.0.attn.qkv.weight"),
    ),
    "google": Source(
        "Google's R50+ViT-B_16 (ImageNet-21k)",
        ("ste", "te"),
        google_entry,
        ("conv_root/kernel", "Transformer/encoderblock_0/LayerNorm_0/scale"),
    ),
    "torchvision": Source(
        "torchvision's ResNet-50 (ImageNet)",
        ("cnn",),
        torch_encoder_entry,
        ("conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight"),
    ),
}


def convert_imagenet(
    state: Mapping[str, Any], source: str, model: MAED, body: Body | None, key: jax.Array
) -> tuple[dict[str, Any], Report]:
    """Returns variables of `model` with the encoder's taken from ImageNet weights, and a report.

    Args:
      state: arrays or tensors by name.
      source: a key of `SOURCES`.
      body: for decoders that start from its mean parameters.
      key: random key for newly initialised parameters.

    Raises:
      UserError: the encoder cannot start from these weights; entries are missing or have another
        shape.
    """
    title, encoders, entry_of, _ = SOURCES[source]
    if model.encoder not in encoders:
        raise UserError(
            f"encoder {model.encoder!r} cannot start from {title}; choose from "
            f"{', '.join(encoders)}"
        )
    if source == "google":
        state = as_published(state)
    entries, anew = {}, []
    for path, shape in variable_shapes(model, body).items():
        name = "/".join(path[1:])
        entry = None if ANEW.fullmatch(name) else entry_of(path[1:], shape, model.heads)
        if entry and ANEW_WHERE_MISSING.fullmatch(name) and entry.names[0] not in state:
            entry = None
        if entry is None:
            anew.append(path)
        else:
            entries[path] = entry
    taken, faults, unused = take(state, entries)
    if faults:
        raise UserError(f"the weights differ from {title}: {join_faults(faults)}")
    report = Report(
        source=title,
        taken=["/".join(path[1:]) for path in taken],
        numbers=sum(array.size for array in taken.values()),
        anew=["/".join(path[1:]) for path in anew],
        left_out=[name for name in unused if "num_batches_tracked" not in name],
        notes=[],
    )
    variables = taken | initialise(model, body, key, anew)
    return traverse_util.unflatten_dict(variables), report


def initialise(model: MAED, body: Body | None, key: jax.Array, paths: list) -> dict:
    """Initialises the variables at `paths` as in a new model; the others are not computed."""

    @functools.partial(jax.jit, compiler_options=hastily())
    def init(key: jax.Array) -> dict:
        clip = jnp.zeros((1, 1, model.image_size, model.image_size, 3))
        flat = traverse_util.flatten_dict(model.init(key, clip, body, method="regress"))
        return {path: flat[path] for path in paths}

    return init(key)
