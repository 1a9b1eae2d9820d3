"""Reads files written by joblib.dump without joblib, and without executing anything in them.

Such a file is a pickle in which the bytes of each array directly follow the object that announces
it. The whole file may be compressed. Arrays in uncompressed files are memory-mapped, not read.
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

KIND = "joblib file"


def read_joblib(path: str | Path) -> Any:
    """Returns the content of a file written by joblib 0.10 or later.

    The content is plain containers with arrays of numbers or text; an array of objects becomes a
    text array if all of them are text, and is refused otherwise. Arrays of uncompressed files are
    read-only, and the file must not change while they are in use.

    Raises:
      UserError: the file is missing, not a joblib file, damaged, compressed in an unsupported way,
        or asks for anything but arrays and plain containers.
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
    """Returns the decompressed stream; the first bytes identify the compression."""
    if start[:1] == b"\x80":  # the first byte of every pickle of protocol 2 or later
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
        raise UserError(f"{path} is compressed with LZ4: save it again without compression")
    if start[:2] == b"PK":
        raise UserError(f"{path} is a zip archive, as written by PyTorch, not a joblib file")
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
    """The unpacked stream of a compressed file of `size` bytes, limited in proportion to that."""

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
    """Maps arrays at the file's position and moves the file past them."""

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
    """Reads an array from the file's next bytes."""
    data = read_exactly(file, dtype.itemsize * math.prod(shape))
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _load(file: BinaryIO, read_array, path: Path) -> Any:
    allowed = {**PYTHON_GLOBALS, **NUMPY_GLOBALS}

    class Wrapper(StandIn):
        """joblib's NumpyArrayWrapper; when it is built, the file is at the array's bytes."""

        array: Any = None

        def build(self, state):
            dtype, shape, order = state["dtype"].value(None), state["shape"], state["order"]
            sizes = all(isinstance(size, int) and size >= 0 for size in shape)
            if not sizes or order not in ("C", "F") or not dtype.itemsize:
                raise TypeError("it holds an array without a shape")
            if dtype.hasobject:  # then a separate pickle follows
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
        rest = file.read(1)  # reading the end makes decompressors verify their checksums
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read as a {KIND}: it is damaged ({error})") from None
    if rest:
        raise UserError(f"{path} cannot be read as a {KIND}: it continues after its end")
    return content


def _text(items: Any) -> np.ndarray:
    # How much memory this takes was limited when the pickle was read, as the size of a list.
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise pickle.UnpicklingError("it holds an array of objects other than text")
    return np.array(items)
