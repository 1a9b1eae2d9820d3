"""Reads NumPy's .npz and .npy files without executing anything in them, in limited memory."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from maed_jax.files.bounds import Archive, read_exactly

_LONGEST_HEADER = 10_000  # bytes; NumPy's own limit
_ENTRIES = (
    re.compile(rb"['\"]descr['\"]: *['\"]([<>=|]?[biufcSUO][0-9]{0,9})['\"]"),
    re.compile(rb"['\"]fortran_order['\"]: *(True|False)"),
    re.compile(rb"['\"]shape['\"]: *\(([0-9, L]*)\)"),
)


class HoldsObjects(ValueError):
    """The array holds Python objects, as a pickle, instead of numbers or text."""


class Npz(Mapping):
    """The arrays of an open .npz by name; each is read when accessed.

    `file[name]` raises KeyError if there is no such array, HoldsObjects, ValueError if the array is
    damaged, and OSError.
    """

    def __init__(self, archive: Archive):
        self._archive = archive
        self._names = {
            name.removesuffix(".npy"): name for name in archive.names if name.endswith(".npy")
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return array_from_bytes(self._archive.read(self._names[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextlib.contextmanager
def open_npz(path: str | Path) -> Iterator[Npz]:
    """Opens an .npz file.

    Raises:
      ValueError: it is not an .npz, is damaged or ambiguous, or unpacks to far more than its size.
      OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        yield Npz(Archive(file))


def read_npy(path: str | Path) -> np.ndarray:
    """Returns the array in an .npy file.

    Raises:
      ValueError: it is not an .npy of plain numbers or text, or is damaged.
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return array_from_bytes(read_exactly(file, os.fstat(file.fileno()).st_size))


def array_from_bytes(data: bytearray) -> np.ndarray:
    """Returns the array in the bytes of an .npy file, sharing their memory.

    Raises:
      HoldsObjects: it holds Python objects.
      ValueError: these are not the bytes of an .npy, or not as many as the array needs.
    """
    head = io.BytesIO(data[: _LONGEST_HEADER + 12])
    shape, fortran, dtype = npy_header(head)
    if dtype.hasobject:
        raise HoldsObjects("it holds Python objects, which are not read")
    size = math.prod(shape) * dtype.itemsize
    if size != len(data) - head.tell() or not dtype.itemsize:
        raise ValueError("its size does not match its array")
    if not size:
        return np.zeros(shape, dtype)
    values = np.frombuffer(data, dtype, offset=head.tell())
    return values.reshape(shape, order="F" if fortran else "C")


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, whether the order is Fortran's, and dtype from the header of an .npy file.

    The header is a Python dict, but nothing is parsed as Python: only plain forms of the three
    relevant entries are accepted.

    Raises:
      ValueError: it is not an .npy, or is damaged.
    """
    start = file.read(8)
    wide = {b"\1": 2, b"\2": 4, b"\3": 4}.get(start[6:7])
    if start[:6] != b"\x93NUMPY" or wide is None:
        raise ValueError("it is not a NumPy array")
    length = int.from_bytes(file.read(wide), "little")
    text = file.read(min(length, _LONGEST_HEADER))
    kind, order, shape = (pattern.search(text) for pattern in _ENTRIES)
    if len(text) < length or not (order and shape):
        raise ValueError("its header is damaged")
    if kind is None:
        raise ValueError("it holds something other than numbers and text")
    try:
        dtype = np.dtype(kind[1].decode())
    except TypeError:
        raise ValueError("its header is damaged") from None
    sizes = (int(size) for size in re.findall(rb"\d{1,19}", shape[1]))
    return tuple(sizes), order[1] == b"True", dtype


def check_axes(arrays: Mapping[str, np.ndarray], axes: Mapping[str, str]) -> None:
    """Checks that arrays have the expected kinds and axes.

    Args:
      axes: name -> kind and axes, such as "float n 24 3", where n must be equal in all arrays that
        have it. Kinds are bool, int, float and any; floats must be finite.

    Raises:
      ValueError: they do not; the message says which array is wrong.
    """
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        kind, *names = axes[name].split()
        fits = array.ndim == len(names) and array.dtype.kind in _KINDS[kind]
        lengths = [int(a) if a.isdecimal() else sizes.setdefault(a, n)
                   for a, n in zip(names, array.shape)] if fits else []  # fmt: skip
        if not fits or tuple(lengths) != array.shape:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not [{axes[name]}]")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")


_KINDS = {"bool": "b", "int": "iu", "float": "f", "any": "biuf"}
