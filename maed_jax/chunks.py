"""Functions of many frames, computed some frames at a time: one shape, one compilation."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np


def in_chunks(
    function: Callable[..., Any], size: int, *arrays: np.ndarray
) -> Iterator[tuple[slice, Any]]:
    """Calls `function` with the chunks of the arrays.

    Yields:
      which rows these are, and the arrays that the function gave for them, as NumPy's.
    """
    for here, rows in chunks(size, *arrays):
        found = jax.device_get(function(*rows))
        yield here, jax.tree.map(operator.itemgetter(slice(here.stop - here.start)), found)


def chunks(size: int, *arrays: np.ndarray) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Yields `size` rows of the arrays at a time, and which these are; the last ones are filled up
    with copies of the very last."""
    for start in range(0, len(arrays[0]), size):
        rows = np.minimum(np.arange(start, start + size), len(arrays[0]) - 1)
        yield slice(start, min(start + size, len(arrays[0]))), [array[rows] for array in arrays]
