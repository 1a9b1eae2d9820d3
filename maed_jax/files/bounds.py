"""Limits on memory use: a few bytes of an untrusted file can claim, or unpack to, any size.

Nothing is allocated on the strength of a claim: memory grows with the bytes that are really there,
and the total that a file unpacks to is limited.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

FREE = 256 << 20  # bytes that any file may use
RATIO = 200  # limit for larger compressed files, times their size; real data compresses far less
COPIES = 8  # extra for uncompressed files, times their size: objects are larger than their bytes
LARGEST = 32 << 30  # limit for any compressed file, bytes

_PIECE = 1 << 22


class Budget:
    """The number of bytes that a file may still use."""

    def __init__(self, left: int):
        self.left = left

    @classmethod
    def packed(cls, size: int) -> Budget:
        """Returns the budget of a compressed file or archive of `size` bytes."""
        return cls(min(max(FREE, RATIO * size), LARGEST))

    @classmethod
    def plain(cls, size: int) -> Budget:
        """Returns the budget of an uncompressed file of `size` bytes."""
        return cls(FREE + COPIES * size)

    def spend(self, size: int) -> None:
        """Subtracts `size` bytes. Raises: ValueError: fewer are left."""
        self.left -= size
        if self.left < 0:
            raise ValueError("it unpacks to far more than its size")


def read_exactly(file: BinaryIO, size: int) -> bytearray:
    """Reads the next `size` bytes.

    Raises:
      ValueError: the file has fewer; memory was allocated only for those it has.
    """
    data = bytearray()
    while len(data) < size:
        piece = file.read(min(size - len(data), _PIECE))
        if not piece:
            raise ValueError("it ends early")
        data += piece
    return data


class Archive:
    """A zip archive whose members are read into memory; their names are never used as paths."""

    def __init__(self, file: BinaryIO):
        """
        Args:
          file: open for reading; must stay open while members are read.

        Raises:
          ValueError: it is not a zip archive, is damaged or ambiguous, or unpacks to far too much.
          OSError: it cannot be read.
        """
        size = os.fstat(file.fileno()).st_size
        with _damage():
            self._zip = zipfile.ZipFile(file)
        budget = Budget.packed(size)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            if member.filename in self._members:
                raise ValueError("two members have the same name")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it uses an unsupported compression method")
            budget.spend(member.file_size)
            self._members[member.filename] = member

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytearray:
        """Returns the bytes of a member after verifying its checksum.

        Raises:
          KeyError: no such member. ValueError: it is damaged. OSError: it cannot be read.
        """
        member = self._members[name]
        with _damage(), self._zip.open(member) as file:
            return read_exactly(file, member.file_size)


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Turns whatever `zipfile` raises for a bad archive, nearly anything, into a ValueError."""
    try:
        yield
    except Exception as error:
        # EINVAL, a seek to an impossible offset, is the archive's fault, not the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(str(error) or "a damaged archive") from None
