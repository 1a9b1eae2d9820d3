"""Reads MATLAB files of versions 5 to 7.2 in limited memory.

They are sequences of elements, each with its kind and size; a variable is an element that contains
elements. The layout is described in MathWorks' "MAT-File Format". Why not `scipy.io.loadmat`: on
some damaged files it crashes the process.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.files.bounds import Budget

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
            13: "u8"}  # fmt: skip
_ENCODINGS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)  # classes of matrices
_HEAD = 1 << 12  # bytes of a compressed variable that are searched for its name

Element = tuple[int, memoryview]
"""kind and content"""


def read_variables(path: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Returns those of the variables `names` that exist, converted as in `matlab.read_mat`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not such a file, is damaged, or of an unsupported kind.
    """
    data = Path(path).read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("it is not a MATLAB file of version 5 or later")
    file, found = _File(order, Budget.packed(len(data))), {}
    try:
        for kind, content in file.elements(memoryview(data)[128:]):
            if kind == _COMPRESSED:
                start = zlib.decompressobj().decompress(content, _HEAD)
                if file.name(file.matrix_content(start, truncated=True)) not in names:
                    continue
                content = file.matrix_content(file.decompress(content))
            elif kind != _MATRIX:
                continue
            if (name := file.name(content)) in names:
                found[name] = file.matrix(content)
    except (struct.error, zlib.error, RecursionError, OverflowError, StopIteration) as error:
        raise ValueError(str(error) or "it is damaged") from None
    return found


class _File:
    def __init__(self, order: str, budget: Budget):
        self.order, self.budget = order, budget

    def elements(self, data: memoryview, truncated: bool = False) -> Iterator[Element]:
        """Yields the elements in `data`, the last of which may be `truncated`."""
        offset = 0
        while offset < len(data):
            kind, size = struct.unpack_from(f"{self.order}II", data, offset)
            start = offset + 8
            if kind >> 16:  # a small element: kind and size share a word
                kind, size, start = kind & 0xFFFF, kind >> 16, offset + 4
                if size > 4:
                    raise ValueError("an element is damaged")
            end = start + size
            if end > len(data) and not truncated:
                raise ValueError("it ends early")
            yield kind, data[start:end]
            # Compressed elements are not padded to a multiple of 8.
            offset = end if kind == _COMPRESSED else max(offset + 8, -(-end // 8) * 8)

    def decompress(self, data: memoryview) -> bytes:
        stream = zlib.decompressobj()
        found = stream.decompress(data, max(1, self.budget.left))
        self.budget.spend(len(found))
        # MATLAB does not end the stream of a variable of 16384 bytes, so `stream.eof` says little.
        # A truncated one is recognised by the size in the variable.
        if stream.unconsumed_tail:
            raise ValueError("it unpacks to far more than its size")
        return found

    def matrix_content(self, data: bytes, truncated: bool = False) -> memoryview:
        """Returns the content of the matrix in a decompressed element."""
        kind, content = next(self.elements(memoryview(data), truncated))
        if kind != _MATRIX:
            raise ValueError("a compressed element is not a variable")
        return content

    def name(self, content: memoryview) -> str:
        parts = self.elements(content, truncated=True)
        _, _, (_, name) = next(parts), next(parts), next(parts)
        return bytes(name).decode("latin1")

    def matrix(self, content: memoryview) -> Any:
        """Returns the value of a variable or a part of one."""
        if not content:
            return np.zeros((0, 0))
        parts = self.elements(content)
        flags = self.integers(*next(parts))
        if len(flags) != 2:
            raise ValueError("an element is damaged")
        kind = flags[0] & 0xFF
        shape = tuple(self.integers(*next(parts)))
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError("a variable has no shape")
        count = math.prod(shape)
        next(parts)  # the name
        if kind in _NUMERIC:
            values = self.numbers(*next(parts))
            if flags[0] & 0x800:
                values = values + 1j * self.numbers(*next(parts))
            return _reshaped(values, shape)
        if kind == _CHAR:
            return self.text(*next(parts), shape)
        if kind == _CELL:
            return self.items(parts, count)
        if kind == _STRUCT:
            (length,) = self.integers(*next(parts))
            _, names = next(parts)
            if not 0 < length <= 1 << 10 or count > len(content):
                raise ValueError("a struct is damaged")
            fields = [bytes(names[i : i + length]).partition(b"\0")[0].decode("latin1")
                      for i in range(0, len(names), length)]  # fmt: skip
            values = iter(self.items(parts, count * len(fields)))
            rows = [dict(zip(fields, values)) for _ in range(count)]  # each consumes its own values
            return rows[0] if count == 1 else rows
        raise ValueError("it holds something other than numbers, text, cells and structs")

    def items(self, parts: Iterator[Element], count: int) -> list:
        found = []
        for kind, content in parts:
            if kind != _MATRIX:
                raise ValueError("an element is damaged")
            found.append(self.matrix(content))
        if len(found) != count:
            raise ValueError("it has the wrong number of parts")
        return found

    def numbers(self, kind: int, content: memoryview) -> np.ndarray:
        if kind not in _NUMBERS:
            raise ValueError("an element is damaged")
        return np.frombuffer(content, self.order + _NUMBERS[kind])

    def integers(self, kind: int, content: memoryview) -> list[int]:
        numbers = self.numbers(kind, content)
        if numbers.dtype.kind not in "iu":
            raise ValueError("an element is damaged")
        return numbers.tolist()

    def text(self, kind: int, content: memoryview, shape: tuple[int, ...]) -> str | list[str]:
        if not math.prod(shape):
            return ""
        if kind in _ENCODINGS:
            byte_order = {"<": "-le", ">": "-be"}[self.order] if kind > 16 else ""
            text = bytes(content).decode(_ENCODINGS[kind] + byte_order)
            codes = np.array([ord(letter) for letter in text])
        else:
            codes = self.numbers(kind, content)
            if codes.dtype.kind != "u" and codes.dtype.itemsize > 1:
                raise ValueError("text is damaged")
        if shape[0] == 1:
            return "".join(map(chr, codes))
        lines = _reshaped(codes, shape).reshape(shape[0], -1)
        return ["".join(map(chr, line)) for line in lines]


def _reshaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if values.size != math.prod(shape):
        raise ValueError("an array has the wrong number of values")
    return values.reshape(shape, order="F")
