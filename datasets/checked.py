"""Reads others' files and checks what they hold: the first wrong field is named, with its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files import json as json_files


def read_json(path: str | Path, **options) -> Any:
    """The content of a JSON file; `options` are those of `json.loads`.

    Raises:
      UserError: no such file, or it is not JSON.
    """
    try:
        return json_files.read_json(path, **options)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON, or is damaged ({error})") from None


def numbers(
    value: Any,
    shape: Sequence[int],
    where: str,
    field: str,
    *,
    any_layout: bool = False,
    finite: bool = True,
) -> np.ndarray:
    """`value` as float64 `[shape]`.

    Args:
      where: the file and the place in it, for messages.
      any_layout: take as many numbers in another layout too, in the same order.
      finite: all must be; false for what the engine counts and leaves out by itself.

    Raises:
      UserError: it is missing, or anything else.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is not None and any_layout and array.size == math.prod(shape):
        array = array.reshape(shape)
    right = array is not None and array.shape == tuple(shape) and value is not None
    if not right or (finite and not np.isfinite(array).all()):
        found = "missing, where there should be" if value is None else "not"
        kind = "finite numbers" if finite else "numbers"
        raise UserError(f"{where}: {field} is {found} {list(shape) or 'one'} {kind}")
    return array


def picture(folder: Path, name: Any, where: str) -> Path:
    """The picture that a file of labels names, below `folder`.

    Raises:
      UserError: it lies elsewhere, or that is not a name.
    """
    path = PurePosixPath(name) if isinstance(name, str) and "\0" not in name else None
    if path is None or path.is_absolute() or not path.name or ".." in path.parts:
        raise UserError(f"{where}: {name!r:.80} is not a picture's name")
    return folder / name


def rows(array: Any, inner: Sequence[int], where: str | Path, field: str) -> np.ndarray:
    """`array` as float32 `[n inner]`, whatever kind of number it is; not checked to be finite.

    Raises:
      UserError: it has another shape, or is not of numbers.
    """
    try:
        array = np.asarray(array)
    except ValueError:
        raise UserError(
            f"{where}: {field} is not an array: its lists are of different lengths"
        ) from None
    right_shape = array.ndim == 1 + len(inner) and array.shape[1:] == tuple(inner)
    if array.dtype.kind not in "fiub" or not right_shape:
        expected = " ".join(str(size) for size in ("n", *inner))
        raise UserError(
            f"{where}: {field} is {list(array.shape)} of {array.dtype}, not [{expected}] numbers"
        )
    return array.astype(np.float32)
