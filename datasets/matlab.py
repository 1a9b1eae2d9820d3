"""Reads MATLAB files, v5 to v7.3, as plain arrays, lists, dicts and text, without executing them.

Axes are in MATLAB's own order in both formats (HDF5 stores them reversed), so a file means the same
whichever version wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from maed_jax.errors import UserError

from .hdf5 import Hdf5, is_hdf5
from .matlab5 import read_variables


def read_mat(path: str | os.PathLike, fields: Sequence[str]) -> dict[str, Any]:
    """Returns the variables `fields` of a .mat file.

    Numbers become arrays with MATLAB's axes (at least two), text `str`, cells lists in MATLAB's
    order (columns first), a struct a dict, and an array of structs a list of dicts.

    Raises:
      UserError: the file is missing, not MATLAB's or damaged, or lacks one of the variables.
    """
    path = Path(path)
    if is_hdf5(path):
        with Hdf5(path) as file:
            return {field: file.variable(field) for field in fields}
    try:
        found = read_variables(path, fields)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a MATLAB file ({error}): is it damaged?"
        ) from None
    for field in fields:
        if field not in found:
            raise UserError(f"{path} lacks the variable {field}: is it the right file?")
    return found


def read_cells(path: str | os.PathLike, field: str, indices: Iterable[int]) -> Iterator[Any]:
    """Yields the cells `indices` (from 0) of the cell array `field`, one at a time.

    Yields None for numbers past the last cell.

    Raises:
      UserError: as `read_mat`, or it is not a v7.3 file.
    """
    path = Path(path)
    if not is_hdf5(path):
        raise UserError(f"{path} is not a MATLAB file of version 7.3, or it is damaged")
    with Hdf5(path) as file:
        cells = file.cells(field)
        for index in indices:
            yield file.cell(cells[index], field) if index < len(cells) else None
