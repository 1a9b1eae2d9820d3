"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maed_jax.errors import UserError, reason
from maed_jax.files.locks import lock


def check_writable(path: str | Path | None) -> None:
    """Checks, before the work, that a file can be written after it; None is none to write.

    Raises:
      UserError: there is no such folder, or it is closed, or the path is one itself.
    """
    if path:
        folder = Path(path).absolute().parent
        # os.path's say no, rather than raise, of what lies in a closed folder.
        missing = os.path.isdir(path) or not os.path.isdir(folder)
        if missing or not os.access(folder, os.W_OK, effective_ids=True):
            raise UserError(f"cannot write {path}: its folder is missing or closed, or it is one")


@contextlib.contextmanager
def whole_file(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Gives a file to write, which has its name once the block has ended well.

    Until then it is `<name>.<random>.part`, which an error removes; what was there before stays
    till then. Of two programs that write the same file at once, the one that ends last is kept.
    What a program that was killed had of it is removed.

    Args:
      mode: "wb", or "w" for text, UTF-8.

    Raises:
      UserError: it cannot be written, for want of room or permission, or is a directory.
    """
    path, part = Path(path), None
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory; give the name of a file")
        with _open_part(path, mode) as file:
            part = Path(file.name)
            _remove_orphans(path)
            yield file
            file.flush()
            part.replace(path)  # before the lock goes: a whole file is nobody's orphan
    except BaseException as error:
        if part:
            with contextlib.suppress(OSError):
                part.unlink()
        if not isinstance(error, OSError):
            raise
        raise UserError(f"{path} cannot be written: {reason(error)}") from None


def _open_part(path: Path, mode: str) -> IO:
    while True:
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        file = part.open(mode, encoding="utf-8" if mode == "w" else None)
        if lock(file) and part.exists():  # nobody took it for an orphan just before
            return file
        file.close()


def _remove_orphans(path: Path) -> None:
    """Parts of the file whose lock went with their process."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with contextlib.suppress(OSError), part.open("rb") as file:
            if lock(file, where_there_are_none=False):
                part.unlink()
