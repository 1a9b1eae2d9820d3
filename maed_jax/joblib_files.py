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

from maed_jax.body.unpickle import NUMPY_GLOBALS, PYTHON_GLOBALS, StandIn, restricted_loads
from maed_jax.errors import UserError

KIND = "file of joblib"
LARGEST = 32 << 30  # bytes that a compressed file may unpack to


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
            read_array = _Mapped(path) if unpacked is file else _Copied()
            return _load(unpacked, read_array, path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


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


class _Copied:
    """Makes arrays of the bytes that the file gives next, within a limit for all of them."""

    def __init__(self):
        self.left = LARGEST

    def __call__(self, file: BinaryIO, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
        size = dtype.itemsize * math.prod(shape)
        self.left -= size
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {LARGEST >> 30} GiB")
        data = bytearray()  # grows with what is really there, whatever the shape claims
        while len(data) < size:
            piece = file.read(min(size - len(data), 1 << 24))
            if not piece:
                raise ValueError("it ends early")
            data += piece
        return np.frombuffer(data, dtype).reshape(shape, order=order)


def _load(file: BinaryIO, read_array, path: Path) -> Any:
    allowed = {**PYTHON_GLOBALS, **NUMPY_GLOBALS}

    class Wrapper(StandIn):
        """joblib's NumpyArrayWrapper: once it is built, the file stands at the array's bytes."""

        array: Any = None

        def build(self, state):
            dtype, shape, order = state["dtype"].value(None), state["shape"], state["order"]
            sizes = all(isinstance(size, int) and size >= 0 for size in shape)
            if not sizes or order not in ("C", "F"):
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
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise pickle.UnpicklingError("it holds an array of objects other than text")
    return np.array(items)
