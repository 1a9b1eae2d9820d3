"""Reads a variable of a CDF file (NASA's Common Data Format, versions 2.5 to 3) in limited memory.

Human3.6M's poses are in this format. Everything that their owner's tools write is supported: a
single file, plain or compressed with GZIP, as a whole or by variable, in either order of axes and
bytes. The layout is described in NASA's "CDF Internal Format Description". Why not cdflib: it fills
what a truncated file lacks with zeros, and some damaged files take it hours or all memory.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.files.bounds import Budget

_MAGIC = {0xCDF30001: 8, 0xCDF26002: 4, 0x0000FFFF: 4}  # -> bytes of an offset
_PLAIN, _PACKED = 0x0000FFFF, 0xCCCC0001
_CDR, _GDR, _R_VDR, _VXR, _VVR, _Z_VDR, _CCR, _CPR, _CVVR = 1, 2, 3, 6, 7, 8, 10, 11, 13
_GZIP = 5
_KINDS = {1: "i1", 2: "i2", 4: "i4", 8: "i8", 11: "u1", 12: "u2", 14: "u4", 21: "f4", 22: "f8",
          41: "i1", 44: "f4", 45: "f8"}  # fmt: skip
_LITTLE, _BIG = (4, 6, 13, 16, 17), (1, 2, 5, 7, 9, 11, 12, 18)  # encodings


@dataclasses.dataclass
class _Variable:
    kind: int
    last_record: int
    index: int
    """offset of the index of its records"""
    packing: int
    """offset of the description of their compression; 0: uncompressed"""
    dims: tuple[int, ...]


def read_variable(path: str | Path, name: str) -> np.ndarray:
    """Returns the numbers of a variable, `[records ...]`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not a CDF file, is damaged or of an unsupported kind, or has no such
        variable.
    """
    data = Path(path).read_bytes()
    try:
        return _File(data).read(name)
    except (struct.error, zlib.error, OverflowError, MemoryError) as error:
        raise ValueError(f"it is damaged: {error}") from None


class _File:
    """The bytes of a file. Following offsets spends its budget, so circular ones cannot loop
    forever."""

    def __init__(self, data: bytes):
        magic, packing = struct.unpack_from(">II", data)
        if magic not in _MAGIC or packing not in (_PLAIN, _PACKED):
            raise ValueError("it is not a CDF file of version 2 or 3")
        self.offset_size = _MAGIC[magic]
        self.budget, self.data = Budget.packed(len(data)), data
        if packing == _PACKED:
            cpr, size, _ = self._fields(8, _CCR, "ooi")
            start = 8 + 3 * self.offset_size + 8
            self._check_gzip(cpr)
            (length,) = self._numbers(8, "o")
            self.data = data[:8] + self._inflate(data[start : 8 + length])
        gdr, version, release, encoding, flags = self._fields(8, _CDR, "oiiii")
        if (version, release) < (2, 5) or not flags & 2:
            raise ValueError("it is older than version 2.5, or split into several files")
        if encoding not in (*_LITTLE, *_BIG):
            raise ValueError("its number encoding is not supported")
        self.order = "<" if encoding in _LITTLE else ">"
        self.rows_first = bool(flags & 1)
        self.gdr = gdr

    def read(self, name: str) -> np.ndarray:
        variable = self._find(name)
        if variable.kind not in _KINDS:
            raise ValueError(f"{name} does not hold numbers")
        kind = np.dtype(self.order + _KINDS[variable.kind])
        size = math.prod(variable.dims) * kind.itemsize
        records = variable.last_record + 1
        if records < 1 or size < 1:
            raise ValueError(f"{name} is empty")
        if variable.packing:
            self._check_gzip(variable.packing)
        self.budget.spend(records * size)
        out, filled = bytearray(), 0
        for first, last, offset in sorted(self._pieces(variable.index)):
            if first != filled or last >= records:
                raise ValueError(f"{name} has records that are missing")
            piece = self._piece(offset, (last + 1 - first) * size)
            out += piece
            filled = last + 1
        if filled != records:
            raise ValueError(f"{name} has records that are missing")
        values = np.frombuffer(out, kind)
        if self.rows_first:
            return values.reshape(records, *variable.dims)
        columns = values.reshape(records, *variable.dims[::-1])
        return columns.transpose(0, *range(len(variable.dims), 0, -1))

    def _find(self, name: str) -> _Variable:
        r_head, z_head, _, _, _, _, _, dims, _ = self._fields(self.gdr, _GDR, "ooooiiiii")
        end = self.gdr + 4 + 5 * self.offset_size + 20 + self.offset_size + 12
        shared = self._numbers(end, f"{self._count(dims)}i")
        for head, kind in ((r_head, _R_VDR), (z_head, _Z_VDR)):
            for offset, (_, number, last, index, _, flags, *_, packing, _) in self._chain(
                head, kind, "oiiooiiiiiiioi"
            ):
                start = offset + 4 + 5 * self.offset_size + 40
                length = 256 if self.offset_size == 8 else 64
                if self.data[start : start + length].rstrip(b" \0") != name.encode():
                    continue
                sizes = shared
                if kind == _Z_VDR:
                    (count,) = self._numbers(start + length, "i")
                    sizes = self._numbers(start + length + 4, f"{self._count(count)}i")
                    start += 4 + 4 * len(sizes)
                varies = self._numbers(start + length, f"{len(sizes)}i")
                sizes = tuple(n for n, each in zip(sizes, varies) if each)
                if min(sizes, default=1) < 1:
                    raise ValueError(f"{name} has an axis without a length")
                return _Variable(number, last, index, packing if flags & 4 else 0, sizes)
        raise ValueError(f"it has no variable {name}")

    def _pieces(self, index: int) -> Iterator[tuple[int, int, int]]:
        """Yields first record, last record and offset of all pieces below an index."""
        pending = [index]
        while pending:
            for node, (_, entries, used) in self._chain(pending.pop(), _VXR, "oii"):
                if not 0 <= used <= entries:
                    raise ValueError("an index is damaged")
                self.budget.spend(entries << 8)  # the memory that each entry's numbers take here
                start = node + 4 + 2 * self.offset_size + 8
                firsts = self._numbers(start, f"{self._count(entries)}i")
                lasts = self._numbers(start + 4 * entries, f"{entries}i")
                offsets = self._numbers(start + 8 * entries, f"{entries}o")
                for first, last, offset in [*zip(firsts, lasts, offsets)][:used]:
                    if self._kind(offset) == _VXR:
                        pending.append(offset)
                    elif 0 <= first <= last:
                        yield first, last, offset
                    else:
                        raise ValueError("an index is damaged")

    def _piece(self, offset: int, size: int) -> bytes:
        """Returns the uncompressed bytes of some records."""
        if self._kind(offset) == _CVVR:
            _, length = self._fields(offset, _CVVR, "io")
            start = offset + 8 + 2 * self.offset_size
            piece = self._inflate(self.data[start : start + length])
        else:
            self._fields(offset, _VVR, "")
            start = offset + 4 + self.offset_size
            piece = self.data[start : start + size]
        if len(piece) < size:
            raise ValueError("records are truncated")
        return piece[:size]

    def _inflate(self, data: bytes) -> bytes:
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(data, max(1, self.budget.left))
        self.budget.spend(len(content))
        if not stream.eof:
            raise ValueError("it unpacks to far more than its size, or is truncated")
        return content

    def _check_gzip(self, offset: int) -> None:
        if self._fields(offset, _CPR, "i") != (_GZIP,):
            raise ValueError("it is compressed with something other than GZIP")

    # --- Records -------------------------------------------------------------------------------

    def _chain(self, head: int, kind: int, layout: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yields offsets and fields of records whose first field is the next one's offset."""
        while head:
            fields = self._fields(head, kind, layout)
            yield head, fields
            head = fields[0]

    def _fields(self, offset: int, kind: int, layout: str) -> tuple[int, ...]:
        """Returns the fields after a record's size and kind; o: an offset or size, i: a number."""
        if self._kind(offset) != kind:
            raise ValueError("a record is not where it should be")
        self.budget.spend(1 << 10)  # for following an offset
        return self._numbers(offset + self.offset_size + 4, layout)

    def _kind(self, offset: int) -> int:
        return self._numbers(offset + self.offset_size, "i")[0]

    def _numbers(self, offset: int, layout: str) -> tuple[int, ...]:
        if not 0 <= offset < len(self.data):
            raise ValueError("an offset points outside of it")
        layout = layout.replace("o", "q" if self.offset_size == 8 else "i")
        return struct.unpack_from(f">{layout}", self.data, offset)

    def _count(self, number: int) -> int:
        if not 0 <= number <= len(self.data) // 4:
            raise ValueError("a record is longer than it")
        return number
