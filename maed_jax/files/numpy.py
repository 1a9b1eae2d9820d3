"""Reads NumPy's .npz and .npy without running anything that they contain, and within bounds."""

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

_LONGEST_HEADER = 10_000  # bytes of a header, as NumPy itself has it
_ENTRIES = (
    re.compile(rb"['\"]descr['\"]: *['\"]([<>=|]?[biufcSUO][0-9]{0,9})['\"]"),
    re.compile(rb"['\"]fortran_order['\"]: *(True|False)"),
    re.compile(rb"['\"]shape['\"]: *\(([0-9, L]*)\)"),
)


class HoldsObjects(ValueError):
    """The array is not of numbers or text but of Python's objects, a pickle."""


class Npz(Mapping):
    """The arrays of an open .npz by their names; each is read when it is asked for.

    `file[name]` raises KeyError where there is none, HoldsObjects, ValueError where it is damaged,
    and OSError.
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
    """Opens a .npz.

    Raises:
      ValueError: not a .npz, damaged, ambiguous, or it unpacks to far more than its size.
      OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        yield Npz(Archive(file))


def read_npy(path: str | Path) -> np.ndarray:
    """The array of a .npy.

    Raises:
      ValueError: not a .npy of plain numbers or text, or damaged. OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return array_from_bytes(read_exactly(file, os.fstat(file.fileno()).st_size))


def array_from_bytes(data: bytearray) -> np.ndarray:
    """The array that a .npy holds, over the same memory.

    Raises:
      HoldsObjects; ValueError: not such bytes, or not as many as the array needs.
    """
    head = io.BytesIO(data[: _LONGEST_HEADER + 12])
    shape, fortran, dtype = npy_header(head)
    if dtype.hasobject:
        raise HoldsObjects("it holds Python objects, which are not read")
    size = math.prod(shape) * dtype.itemsize
    if size != len(data) - head.tell() or not dtype.itemsize:
        raise ValueError("it does not have as many bytes as its array needs")
    if not size:
        return np.zeros(shape, dtype)
    values = np.frombuffer(data, dtype, offset=head.tell())
    return values.reshape(shape, order="F" if fortran else "C")


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of the array that a .npy announces.

    The header is a Python dict, but of the three entries that matter only plain forms are taken:
    nothing is parsed as Python.

    Raises:
      ValueError: it is no .npy, or damaged.
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
        raise ValueError("it holds other things than numbers and text")
    try:
        dtype = np.dtype(kind[1].decode())
    except TypeError:
        raise ValueError("its header is damaged") from None
    sizes = (int(size) for size in re.findall(rb"\d{1,19}", shape[1]))
    return tuple(sizes), order[1] == b"True", dtype


def check_axes(
    arrays: Mapping[str, np.ndarray], axes: Mapping[str, str], sizes: dict[str, int] | None = None
) -> None:
    """Whether arrays have the kinds and axes that they should.

    Args:
      axes: name -> kind and axes, such as "float n 24 3": n is as long in all arrays that have it.
        Kinds are bool, int, float and any; floats must be finite.
      sizes: of letters that are known.

    Raises:
      ValueError: says which array is wrong.
    """
    sizes = {} if sizes is None else sizes
    for name, array in arrays.items():
        kind, *wanted = axes[name].split()
        fits = array.ndim == len(wanted) and array.dtype.kind in _KINDS[kind]
        lengths = [int(a) if a.isdecimal() else sizes.setdefault(a, n)
                   for a, n in zip(wanted, array.shape)] if fits else []  # fmt: skip
        if not fits or tuple(lengths) != array.shape:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not [{axes[name]}]")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")


_KINDS = {"bool": "b", "int": "iu", "float": "f", "any": "biuf"}
