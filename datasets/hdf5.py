"""Reads HDF5 files, such as those of MATLAB 7.3 and Newell's table of MPII, in limited memory.

An HDF5 file may refer to other files on the machine, which are not followed, and claim any size
with a few bytes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.bounds import Budget

try:
    import h5py
except ImportError:
    raise UserError(
        "MATLAB files need h5py: install it with pip install '.[data]' in the source folder"
    ) from None

_OBJECT = 1 << 14  # bytes counted per value: a cell may contain itself, or one value many times


def is_hdf5(path: str | os.PathLike) -> bool:
    """Returns whether a file is HDF5. Raises: UserError: there is no such file."""
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    return h5py.is_hdf5(path)


class Hdf5:
    """An open file. Whatever HDF5 raises in a `with` block becomes a UserError.

    Values are plain arrays with MATLAB's axes, which HDF5 stores reversed, or text, lists and
    dicts; see `matlab.read_mat`.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path

    def __enter__(self) -> Hdf5:
        self._budget = Budget.packed(Path(self.path).stat().st_size)
        try:
            self._file = h5py.File(self.path, "r")
        except Exception as error:
            raise self._damaged(error) from None
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._file.close()
        if isinstance(error, Exception) and not isinstance(error, UserError):
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self.path} cannot be read as HDF5 ({reason(error)}): is it damaged?")

    def __contains__(self, name: str) -> bool:
        return name in self._file

    def table(self, name: str) -> np.ndarray:
        """Returns a dataset of numbers or fixed-width text, with HDF5's axes."""
        item = self._item(self._file, name)
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biufS":
            raise UserError(f"{self.path}: {name} is not an array of numbers or text")
        self._check(item, name)
        return item[()]

    def variable(self, name: str) -> Any:
        return self.value(self._item(self._file, name), name)

    def cells(self, name: str) -> list:
        """Returns the references in a cell array, in MATLAB's order, for `cell`."""
        item = self._item(self._file, name)
        if not isinstance(item, h5py.Dataset) or h5py.check_ref_dtype(item.dtype) is None:
            raise UserError(f"{self.path}: {name} is not an array of cells")
        self._check(item, name)
        return list(item[()].ravel())  # HDF5's row order is MATLAB's column order

    def cell(self, reference: h5py.Reference, name: str) -> Any:
        """Returns one cell. Those read before are assumed to be freed: the budget starts anew."""
        self._budget = Budget.packed(Path(self.path).stat().st_size)
        return self.value(reference, name)

    def value(self, item, name: str) -> Any:
        if isinstance(item, h5py.Reference):
            if not item:
                raise UserError(f"{self.path}: {name} is an empty reference")
            item = self._file[item]
        if isinstance(item, h5py.Group):
            return self._struct(item, name)
        self._check(item, name)
        kind = item.attrs.get("MATLAB_class", b"")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        if item.attrs.get("MATLAB_empty", 0):  # it stores its shape instead
            return {"char": "", "cell": [], "struct": []}.get(kind, np.zeros((0, 0)))
        if h5py.check_ref_dtype(item.dtype) is not None:
            return [self.value(reference, name) for reference in item[()].ravel()]
        if item.dtype.kind not in "biuf":
            raise UserError(f"{self.path}: {name} does not contain numbers")
        if kind == "char":
            return "".join(map(chr, item[()].ravel()))
        return item[()].T

    def _struct(self, group: h5py.Group, name: str) -> dict | list[dict]:
        self._budget.spend(_OBJECT)
        members = {key: self._item(group, key) for key in group}
        lengths = {
            item.size
            for item in members.values()
            if isinstance(item, h5py.Dataset)
            and h5py.check_ref_dtype(item.dtype) is not None
            and "MATLAB_class" not in item.attrs  # cell arrays have this attribute
        }
        values = {key: self.value(item, f"{name}.{key}") for key, item in members.items()}
        if len(lengths) != 1:
            return values
        return [{key: values[key][i] for key in values} for i in range(lengths.pop())]

    def _item(self, group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group:
        link = group.get(name, getlink=True)
        if link is None:
            raise UserError(f"{self.path} lacks the variable {name}: is it the right file?")
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{self.path}: {name} is in another file, and links are not followed")
        return group[name]

    def _check(self, dataset: h5py.Dataset, name: str) -> None:
        if not isinstance(dataset, h5py.Dataset):
            raise UserError(f"{self.path}: {name} is not an array")
        if dataset.is_virtual or dataset.external:
            raise UserError(f"{self.path}: {name} is in another file, and links are not followed")
        if dataset.size is None:
            raise UserError(f"{self.path}: {name} has no size")
        self._budget.spend(_OBJECT + dataset.size * dataset.dtype.itemsize)
