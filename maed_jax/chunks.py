"""Applies functions to many frames in chunks of one size, so that they compile only once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np


def in_chunks(
    function: Callable[..., Any], size: int, *arrays: np.ndarray
) -> Iterator[tuple[slice, Any]]:
    """Calls `function` on chunks of `size` rows of the arrays.

    Yields:
      The slice of rows, and the function's outputs for these rows as NumPy arrays.
    """
    for here, rows in chunks(size, *arrays):
        found = jax.device_get(function(*rows))
        yield here, jax.tree.map(operator.itemgetter(slice(here.stop - here.start)), found)


def chunks(size: int, *arrays: np.ndarray) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Yields slices of up to `size` rows, and these rows of every array; the last chunk is padded
    to `size` with copies of the last row."""
    for start in range(0, len(arrays[0]), size):
        rows = np.minimum(np.arange(start, start + size), len(arrays[0]) - 1)
        yield slice(start, min(start + size, len(arrays[0]))), [array[rows] for array in arrays]
