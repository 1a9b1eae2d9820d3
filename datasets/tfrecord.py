"""Reads TFRecord files and the examples in them without TensorFlow.

A file is a sequence of records: length (8 bytes), checksum of the length (4), data, checksum of the
data (4), little-endian. Checksums are CRC-32C, masked as in TensorFlow.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maed_jax.data.example import parse_example
from maed_jax.errors import UserError, reason

POLYNOMIAL = 0x82F63B78  # CRC-32C's, bits reversed
MAX_RECORD = 1 << 31  # bytes of a record; protocol buffers cannot be larger


def read_records(path: str | Path) -> Iterator[bytes]:
    """Yields the data of each record after verifying its checksums.

    Raises:
      UserError: the file cannot be read or ends within a record, or a checksum does not match.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            number = 0
            while header := file.read(12):
                where = f"{path}, record {number}"
                if len(header) < 12:
                    raise UserError(f"{where}: the file ends within it")
                length, checksum = struct.unpack("<QI", header)
                if masked_crc32c(header[:8]) != checksum:
                    raise UserError(
                        f"{where}: the checksum of its length does not match: damaged, or not a "
                        "TFRecord"
                    )
                if length > MAX_RECORD or file.tell() + length + 4 > size:
                    raise UserError(f"{where}: the file ends within it")
                data = file.read(length)
                (checksum,) = struct.unpack("<I", file.read(4))
                if masked_crc32c(data) != checksum:
                    raise UserError(f"{where}: the checksum of its data does not match: damaged")
                yield data
                number += 1
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None


class Example:
    """A tf.train.Example: named lists of numbers or of bytes."""

    def __init__(self, data: bytes, where: str):
        """
        Args:
          data: a record's data.
          where: file and record, for messages.

        Raises:
          UserError: it is not an example.
        """
        self.where = where
        try:
            self._features = parse_example(data)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def length(self, name: str) -> int:
        """Returns how many numbers or byte strings the feature has; 0 if it is missing."""
        return len(self._values(name)) if name in self else 0

    def numbers(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the feature as float64 `[shape]`; does not check for NaN.

        Raises:
          UserError: it is missing, holds bytes, or has another length.
        """
        values = self._values(name, ("float_list", "int64_list"))
        if len(values) != np.prod(shape):
            raise UserError(
                f"{self.where}: {name} has {len(values)} numbers instead of {list(shape)}"
            )
        return np.array(values, np.float64).reshape(shape)

    def bytes(self, name: str) -> list[bytes]:
        """Returns the feature as a list of byte strings.

        Raises:
          UserError: it is missing, or holds numbers.
        """
        return list(self._values(name, ("bytes_list",)))

    def _values(
        self, name: str, kinds: tuple[str, ...] = ("float_list", "int64_list", "bytes_list")
    ):
        if name not in self:
            raise UserError(f"{self.where}: {name} is missing")
        kind = self._features[name].WhichOneof("kind")
        if kind not in (*kinds, None):
            raise UserError(f"{self.where}: {name} is a {kind}, not a {' or '.join(kinds)}")
        return getattr(self._features[name], kind).value if kind else []


# --- Checksums ------------------------------------------------------------------------------------


def masked_crc32c(data: bytes) -> int:
    """Returns the checksum that TensorFlow stores: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Computes the CRC-32C of `data` in NumPy, on rows of the data in parallel.

    The checksum is linear over XOR, except for its initial ones, which are equivalent to
    complementing the first four bytes. So the checksum of the whole follows from those of the rows,
    each advanced by as many zero bytes as there are bytes after the row; leading zeros change
    nothing.
    """
    table = _table()
    if len(data) < 64:
        crc = 0xFFFFFFFF
        for byte in data:
            crc = int(table[(crc ^ byte) & 0xFF]) ^ crc >> 8
        return crc ^ 0xFFFFFFFF
    rows = 1 << max(0, (len(data) // 16).bit_length() // 2 + 2)
    length = -(-len(data) // rows)
    padded = np.zeros(rows * length, np.uint8)
    padded[len(padded) - len(data) :] = np.frombuffer(data, np.uint8)
    padded[len(padded) - len(data) :][:4] ^= 0xFF
    # 32 more rows of zero bytes, each starting with one bit: how a row advances each bit of a sum.
    columns = np.zeros((length, rows + 32), np.uint8)
    columns[:, :rows] = padded.reshape(rows, length).T
    crcs = np.r_[np.zeros(rows, np.uint32), np.uint32(1) << np.arange(32, dtype=np.uint32)]
    for column in columns:
        crcs = table[(crcs ^ column) & 0xFF] ^ crcs >> 8
    crcs, step = crcs[:rows], crcs[rows:]
    while len(crcs) > 1:
        crcs = _advance(crcs[::2], step) ^ crcs[1::2]
        step = _advance(step, step)
    return int(crcs[0]) ^ 0xFFFFFFFF


def _advance(crcs: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Advances checksums [n] by the bytes whose effect on each bit is `step` [32]."""
    bits = crcs[:, None] >> np.arange(32, dtype=np.uint32) & 1
    return np.bitwise_xor.reduce(bits * step, axis=1)


@functools.cache
def _table() -> np.ndarray:
    """Returns the checksums of the 256 bytes."""
    crcs = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crcs = np.where(crcs & 1, crcs >> 1 ^ np.uint32(POLYNOMIAL), crcs >> 1)
    return crcs
