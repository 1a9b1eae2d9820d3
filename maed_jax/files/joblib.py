"""Reads files of joblib.dump without joblib, and without running anything that they contain.

Such a file is a pickle in which the bytes of every array stand right behind the note that announces
it. The whole may be compressed. Arrays of a file that is not are mapped into memory, not read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickle
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.bounds import Budget, read_exactly
from maed_jax.files.stand_ins import NUMPY_GLOBALS, PYTHON_GLOBALS, StandIn
from maed_jax.files.unpickle import restricted_loads

KIND = "file of joblib"


def read_joblib(path: str | Path) -> Any:
    """The content of a file written by joblib 0.10 or later.

    Plain containers with arrays of numbers or text in them; an array of objects becomes an array if
    all of them are text, and is refused otherwise. Arrays are read-only where the file is not
    compressed; the file must stay as it is while they are in use.

    Raises:
      UserError: no such file, not of joblib, damaged, compressed in an unknown way, or it asks for
        anything but arrays and plain containers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            unpacked = _unpacked(start, file, path)
            if unpacked is file:
                return _load(file, _Mapped(path), path)
            return _load(_Bounded(unpacked, path.stat().st_size), _copied, path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None


def _unpacked(start: bytes, file: BinaryIO, path: Path) -> BinaryIO:
    """The stream inside the compression that the first bytes tell of."""
    if start[:1] == b"\x80":  # where every pickle of protocol 2 or later begins
        return file
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)
    if start[:1] == b"\x78" and int.from_bytes(start[:2], "big") % 31 == 0:
        return io.BufferedReader(_ZlibFile(file))
    if start[:2] == b"BZ":
        return bz2.BZ2File(file)
    if start == b"\xfd7zXZ\0" or start[:2] == b"]\0":
        return lzma.LZMAFile(file)
    if start[:4] == b"\x04\x22\x4d\x18":
        raise UserError(f"{path} is compressed with LZ4: write it again with joblib.dump alone")
    if start[:2] == b"PK":
        raise UserError(f"{path} is a zip archive, as PyTorch writes them, and not of joblib")
    raise UserError(f"{path} is not a {KIND}")


class _ZlibFile(io.RawIOBase):
    def __init__(self, file: BinaryIO):
        self._file, self._zlib = file, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._zlib.eof:
            packed = self._zlib.unconsumed_tail or self._file.read(1 << 16)
            data = self._zlib.decompress(packed, len(buffer))
            buffer[: len(data)] = data
            if data:
                return len(data)
            if not packed:
                raise EOFError("it ends early")
        return 0


class _Bounded:
    """What a compressed file of `size` bytes unpacks to, unless that is out of proportion."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._budget = file, Budget.packed(size)

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._budget.spend(len(data))
        return data

    def readline(self) -> bytes:
        data = self._file.readline(self._budget.left + 1)
        self._budget.spend(len(data))
        return data


# --- Arrays ---------------------------------------------------------------------------------------


class _Mapped:
    """Makes arrays of the bytes from where the file is on, which it steps over."""

    def __init__(self, path: Path):
        self.path, self.size = path, path.stat().st_size

    def __call__(self, file: BinaryIO, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
        offset = file.tell()
        end = offset + dtype.itemsize * math.prod(shape)
        if end > self.size:
            raise ValueError("it ends early")
        file.seek(end)
        if end == offset:
            return np.zeros(shape, dtype)
        return np.memmap(self.path, dtype, "r", offset, shape, order).view(np.ndarray)


def _copied(file: BinaryIO, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    """An array of the bytes that the file gives next."""
    data = read_exactly(file, dtype.itemsize * math.prod(shape))
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _load(file: BinaryIO, read_array, path: Path) -> Any:
    allowed = {**PYTHON_GLOBALS, **NUMPY_GLOBALS}

    class Wrapper(StandIn):
        """joblib's NumpyArrayWrapper: once it is built, the file stands at the array's bytes."""

        array: Any = None

        def build(self, state):
            dtype, shape, order = state["dtype"].value(None), state["shape"], state["order"]
            sizes = all(isinstance(size, int) and size >= 0 for size in shape)
            if not sizes or order not in ("C", "F") or not dtype.itemsize:
                raise TypeError("it holds an array without a shape")
            if dtype.hasobject:  # a pickle of its own
                self.array = _text(restricted_loads(file, allowed, str(path), kind=KIND))
                return
            if state.get("numpy_array_alignment_bytes") is not None:  # since joblib 1.2
                file.read(file.read(1)[0])
            self.array = read_array(file, dtype, tuple(shape), order)

        def value(self, replace):
            return self.array

    allowed["joblib.numpy_pickle", "NumpyArrayWrapper"] = Wrapper
    content = restricted_loads(file, allowed, str(path), kind=KIND)
    try:
        rest = file.read(1)  # at the end a compressed file checks its sums
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read as a {KIND}: it is damaged ({error})") from None
    if rest:
        raise UserError(f"{path} cannot be read as a {KIND}: it goes on after its end")
    return content


def _text(items: Any) -> np.ndarray:
    # How much the array takes was checked: it is a list as far as its pickle is concerned.
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise pickle.UnpicklingError("it holds an array of objects other than text")
    return np.array(items)
