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
    """Calls `function` with `size` rows of the arrays at a time, the last ones filled up with
    copies of the very last.

    Yields:
      which rows these are, and the arrays that the function gave for them, as NumPy's.
    """
    for start in range(0, len(arrays[0]), size):
        here = slice(start, min(start + size, len(arrays[0])))
        rows = np.minimum(np.arange(start, start + size), len(arrays[0]) - 1)
        found = jax.device_get(function(*(array[rows] for array in arrays)))
        yield here, jax.tree.map(operator.itemgetter(slice(here.stop - start)), found)
