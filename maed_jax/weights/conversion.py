"""Recognises a file of weights and converts it into a work directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from maed_jax.body.files import load_body
from maed_jax.errors import UserError
from maed_jax.models.maed import MAED
from maed_jax.runs.config import absolute_body, defaults
from maed_jax.runs.restore import check_empty, write_run
from maed_jax.weights import imagenet, original
from maed_jax.weights.arrays import read_arrays
from maed_jax.weights.layouts import paper_model
from maed_jax.weights.report import Report


class Converted(NamedTuple):
    """The result of `convert`."""

    kind: str
    """"original", or a key of `imagenet.SOURCES`"""
    model: MAED
    report: Report


def convert(
    source: str | Path,
    workdir: str | Path,
    *,
    encoder: str | None = None,
    mode: str | None = None,
    decoder: str | None = None,
    body: str = "mannequin",
    seed: int = 0,
    sizes: Mapping[str, Any] | None = None,
) -> Converted:
    """Converts the weights in `source` into a work directory with one checkpoint, of step 0.

    Args:
      source: the original's checkpoint, or the ImageNet weights of timm, Google or torchvision.
      workdir: created; if it exists, it must be empty.
      encoder, mode, decoder: as in `MAED`; None: as the weights indicate, or the paper's.
      body: "mannequin" or a path.
      seed: for newly initialised parameters.
      sizes: other arguments of `MAED`, for networks that are not of the paper's size.

    Raises:
      UserError: the work directory is in use; the file cannot be read or holds other weights; a
        choice does not exist or does not fit the weights.
    """
    check_empty(workdir)
    state = read_arrays(source)
    kind = recognise(state, str(source))
    loaded = load_body(body)
    if kind == "original":
        model = original_model(state, encoder, mode, decoder, sizes or {})
        variables, report = original.convert_original(state, model, loaded)
        if model.decoder == "iterative" and original.means_differ(
            loaded, original.with_means(loaded, state)
        ):
            report.notes.append(
                "it was trained with mean parameters other than the body's, which the decoder will "
                "start from: put its smpl_mean_params.npz next to the body"
            )
        if body == "mannequin":
            report.notes.append(
                "the original was trained with SMPL, and its output means little on the mannequin: "
                "pass --body (docs/body.md)"
            )
    else:
        encoder = encoder or imagenet.SOURCES[kind].encoders[0]
        decoder = decoder or MAED.decoder
        model = paper_model(encoder, mode or MAED.mode, decoder, sizes or {})
        key = jax.random.key(seed)
        variables, report = imagenet.convert_imagenet(state, kind, model, loaded, key)
    config = defaults()
    config.body = absolute_body(body)
    write_run(workdir, model, variables, config, {"conversion.txt": f"{report}\n"})
    return Converted(kind, model, report)


def recognise(state: Mapping[str, Any], what: str) -> str:
    """Returns whose weights these are: "original", or a key of `imagenet.SOURCES`.

    Args:
      what: what to call the file in messages.

    Raises:
      UserError: they are not recognised.
    """
    if original.variant_of(original.weights_only(state)):
        return "original"
    for kind, source in imagenet.SOURCES.items():
        if all(mark in state for mark in source.marks):
            return kind
    names = sorted(map(str, state))
    few = f"the first: {', '.join(names[:3])}" if names else "it is empty"
    raise UserError(
        f"{what} holds {len(names)} arrays ({few}), which are neither the original's, nor timm's "
        "or Google's hybrid, nor torchvision's ResNet-50"
    )


def original_model(
    state: Mapping[str, Any],
    encoder: str | None,
    mode: str | None,
    decoder: str | None,
    sizes: Mapping[str, Any],
) -> MAED:
    """Returns the original's model with the given parts, the others chosen to fit the weights.

    Raises:
      UserError: the original has no such part, or the weights fit several modes.
    """
    found = original.variant_of(original.weights_only(state))
    encoder = encoder or found.encoder
    if mode is None and encoder == "ste" and len(found.modes) > 1:
        *most, last = map(repr, found.modes)
        modes = f"{', '.join(most)} and {last}"
        raise UserError(f"the weights fit the modes {modes}: choose one with --mode")
    return original.model_of(encoder, mode or found.modes[0], decoder or found.decoder, sizes)
