"""Reads and checks other people's files; errors name the file and the first wrong field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files import json as json_files


def read_json(path: str | Path, **options) -> Any:
    """Returns the content of a JSON file; `options` are passed to `json.loads`.

    Raises:
      UserError: the file cannot be read, or is not JSON.
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
    where: str | Path,
    field: str,
    *,
    any_layout: bool = False,
    finite: bool = True,
) -> np.ndarray:
    """Converts `value` to float64 `[shape]`.

    Args:
      where: the file and the place in it, for messages.
      field: the field's name, for messages.
      any_layout: also accept the same number of values in another layout, in the same order.
      finite: require finite numbers; false for those that `Recorder` counts and leaves out itself.

    Raises:
      UserError: it is missing (None), or not numbers of this shape.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is not None and any_layout and array.size == math.prod(shape):
        array = array.reshape(shape)
    valid = array is not None and array.shape == tuple(shape) and value is not None
    if not valid or (finite and not np.isfinite(array).all()):
        found = "missing, but should be" if value is None else "not"
        kind = "finite numbers" if finite else "numbers"
        raise UserError(f"{where}: {field} is {found} {list(shape) or 'one'} {kind}")
    return array


def image_path(folder: Path, name: Any, where: str) -> Path:
    """Returns the path, below `folder`, of the image that a label file names.

    Raises:
      UserError: it is elsewhere, or `name` is not a name.
    """
    path = PurePosixPath(name) if isinstance(name, str) and "\0" not in name else None
    if path is None or path.is_absolute() or not path.name or ".." in path.parts:
        raise UserError(f"{where}: {name!r:.80} is not an image's name")
    return folder / name


def rows(array: Any, inner: Sequence[int], where: str | Path, field: str) -> np.ndarray:
    """Converts `array`, of any type of number, to float32 `[n *inner]`; does not check for NaN.

    Args:
      where: the file, for messages.
      field: the field's name, for messages.

    Raises:
      UserError: it has another shape, or is not an array of numbers.
    """
    try:
        array = np.asarray(array)
    except ValueError:
        raise UserError(
            f"{where}: {field} is not an array: its lists have different lengths"
        ) from None
    right_shape = array.ndim == 1 + len(inner) and array.shape[1:] == tuple(inner)
    if array.dtype.kind not in "fiub" or not right_shape:
        expected = " ".join(str(size) for size in ("n", *inner))
        raise UserError(
            f"{where}: {field} is {list(array.shape)} of {array.dtype}, not [{expected}] numbers"
        )
    return array.astype(np.float32)
