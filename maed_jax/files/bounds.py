"""Bounds on what a file may take: a few bytes of a stranger's can claim, or unpack to, any size.

Nothing is allocated for a claim: memory grows with what is really there, and unpacked files have a
bound for all that is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

FREE = 256 << 20  # bytes that any file may take
RATIO = 200  # times its size that a packed one may, above that: real numbers pack far less
COPIES = 8  # times its size that one may which is not packed: an object is larger than its bytes
LARGEST = 32 << 30  # bytes that none may

_PIECE = 1 << 22


class Budget:
    """How many bytes a file may still take."""

    def __init__(self, left: int):
        self.left = left

    @classmethod
    def packed(cls, size: int) -> Budget:
        """Of a compressed file or archive of `size` bytes."""
        return cls(min(max(FREE, RATIO * size), LARGEST))

    @classmethod
    def plain(cls, size: int) -> Budget:
        """Of a file of `size` bytes that is not compressed."""
        return cls(FREE + COPIES * size)

    def spend(self, size: int) -> None:
        """Raises: ValueError: there is not so much left."""
        self.left -= size
        if self.left < 0:
            raise ValueError("it unpacks to far more than its size")


def read_exactly(file: BinaryIO, size: int) -> bytearray:
    """The next `size` bytes.

    Raises:
      ValueError: there are not so many; no more memory was taken than for those there are.
    """
    data = bytearray()
    while len(data) < size:
        piece = file.read(min(size - len(data), _PIECE))
        if not piece:
            raise ValueError("it ends early")
        data += piece
    return data


class Archive:
    """A zip archive, read member by member into memory: no member's name is ever used as a path."""

    def __init__(self, file: BinaryIO):
        """file: open for reading, and it stays so while members are read.

        Raises:
          ValueError: not a zip archive, damaged, ambiguous, or it unpacks to far too much.
          OSError: it cannot be read.
        """
        size = os.fstat(file.fileno()).st_size
        with _damage():
            self._zip = zipfile.ZipFile(file)
        budget = Budget.packed(size)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            if member.filename in self._members:
                raise ValueError("two members have one name")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed in an uncommon way")
            budget.spend(member.file_size)
            self._members[member.filename] = member

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytearray:
        """The bytes of a member, checked by their sum.

        Raises:
          KeyError: no such member. ValueError: it is damaged. OSError: it cannot be read.
        """
        member = self._members[name]
        with _damage(), self._zip.open(member) as file:
            return read_exactly(file, member.file_size)


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Makes a ValueError of all that `zipfile` raises of an archive: nearly anything."""
    try:
        yield
    except Exception as error:
        # To go to a place that cannot be is an error of the archive, not of the disk.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(str(error) or "a damaged archive") from None
