"""MATLAB's files, v5 to v7.3, as plain arrays, lists, dicts and text; nothing in them is run.

Axes are in MATLAB's own order in both formats (HDF5 stores them reversed), so that a file means the
same whichever version wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from maed_jax.errors import UserError

try:
    import h5py
except ImportError:
    raise UserError(
        "MATLAB's files need h5py: install it with pip install 'maed_jax[data]'"
    ) from None

_LARGEST = 4 << 30  # bytes of one array: a small file may claim any size


def read_mat(path: str | os.PathLike, fields: Sequence[str]) -> dict[str, Any]:
    """The variables `fields` of a .mat file.

    Numbers come as arrays with MATLAB's axes (two at least), text as `str`, cells as lists in
    MATLAB's order (columns first), a struct as a dict and an array of structs as a list of dicts.

    Raises:
      UserError: no such file, not MATLAB's, damaged, or without one of the variables.
    """
    path = Path(path)
    _check_file(path)
    if h5py.is_hdf5(path):
        with _Hdf5(path) as file:
            return {field: file.variable(field) for field in fields}
    try:
        found = scipy.io.loadmat(path, variable_names=list(fields), struct_as_record=False)
    except Exception as error:  # a damaged file can raise nearly anything
        raise _damaged(path, error) from None
    for field in fields:
        if field not in found:
            raise _missing(path, field)
    return {field: _plain(found[field]) for field in fields}


def read_cells(path: str | os.PathLike, field: str, wanted: Iterable[int]) -> Iterator[Any]:
    """Yields the cells number `wanted` (from 0) of the cell array `field`, one in memory at a time.

    None for those past the last cell.

    Raises:
      UserError: as `read_mat`; not a v7.3 file.
    """
    path = Path(path)
    _check_file(path)
    if not h5py.is_hdf5(path):
        raise UserError(f"{path} is not a MATLAB file of version 7.3, or it is damaged")
    with _Hdf5(path) as file:
        cells = file.cells(field)
        for number in wanted:
            yield file.value(cells[number], field) if number < len(cells) else None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} does not exist")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return UserError(f"{path} cannot be read as a MATLAB file ({reason}): is it damaged?")


def _missing(path: Path, field: str) -> UserError:
    return UserError(f"{path} lacks the variable {field}: is it the right file?")


# --- Version 5 ------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """What SciPy made of a v5 variable, as plain things."""
    if isinstance(value, scipy.io.matlab.mat_struct):
        return {name: _plain(getattr(value, name)) for name in value._fieldnames}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "U":
        return "" if value.size == 0 else value.item() if value.size == 1 else value.tolist()
    if value.dtype.kind != "O":
        return value
    items = [_plain(item) for item in value.ravel(order="F")]
    is_struct = all(isinstance(item, scipy.io.matlab.mat_struct) for item in value.flat)
    return items[0] if is_struct and len(items) == 1 else items


# --- Version 7.3 ----------------------------------------------------------------------------------


class _Hdf5:
    """An open v7.3 file. Whatever HDF5 raises in a `with` block becomes a UserError."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> _Hdf5:
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise _damaged(self.path, error) from None
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._file.close()
        if isinstance(error, (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError)):
            raise _damaged(self.path, error) from None

    def variable(self, name: str) -> Any:
        return self.value(self._item(self._file, name), name)

    def cells(self, name: str) -> list:
        """The references in a cell array, in MATLAB's order."""
        item = self._item(self._file, name)
        if not isinstance(item, h5py.Dataset) or h5py.check_ref_dtype(item.dtype) is None:
            raise UserError(f"{self.path}: {name} is not an array of cells")
        self._check(item, name)
        return list(item[()].ravel())  # HDF5's rows are MATLAB's columns

    def value(self, item, name: str) -> Any:
        if isinstance(item, h5py.Reference):
            if not item:
                raise UserError(f"{self.path}: {name} points at nothing")
            item = self._file[item]
        if isinstance(item, h5py.Group):
            return self._struct(item, name)
        self._check(item, name)
        kind = item.attrs.get("MATLAB_class", b"")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        if item.attrs.get("MATLAB_empty", 0):  # what it stores is the shape
            return {"char": "", "cell": [], "struct": []}.get(kind, np.zeros((0, 0)))
        if h5py.check_ref_dtype(item.dtype) is not None:
            return [self.value(reference, name) for reference in item[()].ravel()]
        if item.dtype.kind not in "biuf":
            raise UserError(f"{self.path}: {name} does not hold numbers")
        if kind == "char":
            return "".join(map(chr, item[()].ravel()))
        return item[()].T

    def _struct(self, group: h5py.Group, name: str) -> dict | list[dict]:
        members = {key: self._item(group, key) for key in group}
        lengths = {
            item.size
            for item in members.values()
            if isinstance(item, h5py.Dataset)
            and h5py.check_ref_dtype(item.dtype) is not None
            and "MATLAB_class" not in item.attrs  # a cell says that it is one
        }
        values = {key: self.value(item, f"{name}.{key}") for key, item in members.items()}
        if len(lengths) != 1:
            return values
        return [{key: values[key][i] for key in values} for i in range(lengths.pop())]

    def _item(self, group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group:
        link = group.get(name, getlink=True)
        if link is None:
            raise _missing(self.path, name)
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{self.path}: {name} lies in another file, which is not followed")
        return group[name]

    def _check(self, dataset: h5py.Dataset, name: str) -> None:
        if dataset.is_virtual or dataset.external:
            raise UserError(f"{self.path}: {name} lies in another file, which is not followed")
        if dataset.size is None or dataset.size * dataset.dtype.itemsize > _LARGEST:
            raise UserError(f"{self.path}: {name} claims more than {_LARGEST >> 30} GiB")
