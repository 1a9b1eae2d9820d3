"""Reads PyTorch checkpoints without PyTorch, and without executing anything in them.

A checkpoint is a pickle of containers whose tensors are views of raw storages. Both layouts are
supported: the zip archive of PyTorch 1.6 and later, and the older stream of pickles.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.bounds import Archive, Budget, read_exactly
from maed_jax.files.stand_ins import NUMPY_GLOBALS, PYTHON_GLOBALS, StandIn
from maed_jax.files.unpickle import Replacing, restricted_loads

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
KIND = "PyTorch checkpoint"

DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class Storage:
    """A flat array that tensors are views of; filled in once its bytes are read."""

    def __init__(self, dtype: type, size: int):
        self.dtype = np.dtype(dtype)
        self.size = size
        self.values: np.ndarray | None = None

    def fill(self, data: bytes) -> None:
        if len(data) != self.size * self.dtype.itemsize:
            raise ValueError(f"a storage of {self.size} {self.dtype} holds {len(data)} bytes")
        self.values = np.frombuffer(data, self.dtype)


class Tensor(StandIn):
    """A view that becomes an array once the storages are filled."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple, *_unused: Any):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def value(self, replace) -> np.ndarray:
        array = self.array()
        replace.spend(array.nbytes)
        return array

    def array(self) -> np.ndarray:
        values = self.storage.values
        sizes = (self.offset, *self.shape, *self.strides)
        if values is None or not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise ValueError("a tensor without its numbers")
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, values.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides))
        beyond = last >= values.size or math.prod(self.shape) > values.size
        if len(self.shape) != len(self.strides) or beyond:
            raise ValueError("a tensor is larger than its storage")
        step = values.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, [s * step for s in self.strides]
        )
        # A copy, so that the result no longer depends on the view's bounds.
        return np.array(view)


def parameter(data: Tensor, *_unused: Any) -> Tensor:
    return data


def size(numbers: tuple = ()) -> tuple:
    if not isinstance(numbers, tuple):
        raise TypeError("it holds an invalid size")
    return numbers


ALLOWED = {
    **PYTHON_GLOBALS,
    **NUMPY_GLOBALS,
    ("torch._utils", "_rebuild_tensor_v2"): Tensor,
    ("torch._utils", "_rebuild_tensor"): Tensor,
    ("torch._utils", "_rebuild_parameter"): parameter,
    ("torch", "Size"): size,
    **{("torch", name): np.dtype(dtype) for name, dtype in DTYPES.items()},
}


def load_torch(path: str | Path) -> Any:
    """Returns the content of a `.pt`, `.pth` or `.pth.tar` file, with arrays in place of tensors.

    Raises:
      UserError: the file is missing, not PyTorch's, damaged, or asks for anything but tensors and
        plain containers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                content = load_zip(file, str(path))
            else:
                file.seek(0)
                content = load_legacy(file, str(path))
            return Replacing(Budget.plain(os.fstat(file.fileno()).st_size))(content)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(
            f"{path} is not a PyTorch checkpoint, or is damaged ({reason(error)})"
        ) from None


class StorageTable:
    """Storages by the key in the pickle's persistent ids."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _location, size, *_view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(size, int):
            raise pickle.UnpicklingError("a persistent id that is not a storage")
        return self.storages.setdefault(str(key), Storage(dtype, size))


def load_zip(file: io.BufferedIOBase, what: str) -> Any:
    archive = Archive(file)
    pickles = [name for name in archive.names if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it holds no data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    order = f"{prefix}byteorder"
    if order in archive.names and archive.read(order) != sys.byteorder.encode():
        raise ValueError("it was written on a machine with another byte order")
    table = StorageTable()
    content = restricted_loads(
        io.BytesIO(archive.read(pickles[0])), ALLOWED, what, table.persistent_load, kind=KIND,
        replace=False,
    )  # fmt: skip
    for key, storage in table.storages.items():
        storage.fill(archive.read(f"{prefix}data/{key}"))
    return content


def load_legacy(file: io.BufferedIOBase, what: str) -> Any:
    for expected in (LEGACY_MAGIC, None, None):  # magic number, protocol, system information
        found = restricted_loads(file, {}, what, kind=KIND)
        if expected is not None and found != expected:
            raise ValueError("no magic number")
    table = StorageTable()
    content = restricted_loads(file, ALLOWED, what, table.persistent_load, kind=KIND, replace=False)
    for key in restricted_loads(file, {}, what, kind=KIND):
        storage = table.storages[str(key)]
        size = int.from_bytes(file.read(8), "little")
        if size != storage.size:
            raise ValueError(f"storage {key} has {size} numbers instead of {storage.size}")
        storage.fill(read_exactly(file, size * storage.dtype.itemsize))
    return content
