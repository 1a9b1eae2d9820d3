"""Atomic writing of files: a file appears whole or not at all."""

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
    """Checks, before the work, that its result can be written; None: there is no file to write.

    Raises:
      UserError: the folder is missing or not writable, or `path` is itself a folder.
    """
    if path:
        folder = Path(path).absolute().parent
        # Unlike pathlib, os.path returns False, rather than raising, inside an unreadable folder.
        missing = os.path.isdir(path) or not os.path.isdir(folder)
        if missing or not os.access(folder, os.W_OK, effective_ids=True):
            raise UserError(
                f"cannot write {path}: it is a folder, or its folder is missing or not writable"
            )


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Opens a file for writing that gets its name only when the block ends without an error.

    Until then it is called `<name>.<random>.part`, and an earlier file stays in place; on an error
    the part is removed. If two programs write the same file at once, the one that ends last wins.
    Parts left by programs that were killed are removed.

    Args:
      mode: "wb", or "w" for text in UTF-8.

    Raises:
      UserError: it cannot be written (no space, no permission), or is a directory.
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
            part.replace(path)  # while locked, so that no one removes it as an orphan
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
        if lock(file) and part.exists():  # else someone removed it as an orphan before the lock
            return file
        file.close()


def _remove_orphans(path: Path) -> None:
    """Removes parts of the file that no process has locked any more."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with contextlib.suppress(OSError), part.open("rb") as file:
            if lock(file, if_unsupported=False):
                part.unlink()
