"""Reads TFRecord files and the examples in them without TensorFlow.

A file is a row of records: length (8 bytes), checksum of the length (4), data, checksum of the data
(4), little-endian. Checksums are CRC-32C, masked as TensorFlow does.
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

POLYNOMIAL = 0x82F63B78  # of CRC-32C, bits reversed
LARGEST = 1 << 31  # bytes of a record; protocol buffers cannot be larger


def read_records(path: str | Path) -> Iterator[bytes]:
    """Yields the data of each record, checked.

    Raises:
      UserError: no such file, it ends within a record, or a checksum does not match.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            number = 0
            while head := file.read(12):
                where = f"{path}, record {number}"
                if len(head) < 12:
                    raise UserError(f"{where}: the file ends within it")
                length, checksum = struct.unpack("<QI", head)
                if masked_crc32c(head[:8]) != checksum:
                    raise UserError(
                        f"{where}: the checksum of its length does not match: damaged, or not a "
                        "TFRecord"
                    )
                if length > LARGEST or file.tell() + length + 4 > size:
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
        """data: of a record; where: file and record, for messages.

        Raises:
          UserError: not an example.
        """
        self.where = where
        try:
            self._features = parse_example(data)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def length(self, name: str) -> int:
        """How many numbers or bytes the feature has; 0 where it is missing."""
        return len(self._values(name)) if name in self else 0

    def numbers(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The feature as float64 `[shape]`; not checked to be finite.

        Raises:
          UserError: it is missing, of bytes, or of another length.
        """
        values = self._values(name, ("float_list", "int64_list"))
        if len(values) != np.prod(shape):
            raise UserError(
                f"{self.where}: {name} has {len(values)} numbers in place of {list(shape)}"
            )
        return np.array(values, np.float64).reshape(shape)

    def bytes(self, name: str) -> list[bytes]:
        """The feature as a list of bytes.

        Raises:
          UserError: it is missing, or of numbers.
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
    """The checksum that TensorFlow stores: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`, in NumPy: the data is cut into rows that advance side by side.

    The checksum is linear over XOR, but for the ones it starts with, which amount to complementing
    the first four bytes. So the sum of the whole follows from the sums of the rows, each moved on
    by as many zero bytes as there are after it; zeros in front change nothing.
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
    # 32 more rows of zero bytes, each with one bit to start with: how a sum moves on by a row.
    columns = np.zeros((length, rows + 32), np.uint8)
    columns[:, :rows] = padded.reshape(rows, length).T
    sums = np.r_[np.zeros(rows, np.uint32), np.uint32(1) << np.arange(32, dtype=np.uint32)]
    for column in columns:
        sums = table[(sums ^ column) & 0xFF] ^ sums >> 8
    sums, step = sums[:rows], sums[rows:]
    while len(sums) > 1:
        sums = _moved(sums[::2], step) ^ sums[1::2]
        step = _moved(step, step)
    return int(sums[0]) ^ 0xFFFFFFFF


def _moved(sums: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Sums after the bytes that `step` [32] gives the effect of on each of their bits."""
    bits = sums[:, None] >> np.arange(32, dtype=np.uint32) & 1
    return np.bitwise_xor.reduce(bits * step, axis=1)


@functools.cache
def _table() -> np.ndarray:
    """The sums of the 256 bytes."""
    sums = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        sums = np.where(sums & 1, sums >> 1 ^ np.uint32(POLYNOMIAL), sums >> 1)
    return sums
