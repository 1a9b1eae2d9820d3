"""Locks on open files, which disappear with their process however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maed_jax.errors import UserError, reason

NAME = ".lock"


def lock(file: IO, if_unsupported: bool = True) -> bool:
    """Locks a file for as long as it is open; returns False if someone else holds the lock.

    Args:
      if_unsupported: what to return on file systems without locks.

    Raises:
      OSError: locking fails for another reason.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        return if_unsupported
    return True


class InUse(UserError):
    """Another run is using the directory."""


@contextlib.contextmanager
def only_run_in(workdir: str | Path, option: str = "--workdir") -> Iterator[None]:
    """Keeps other runs out of `workdir`, which is created if it does not exist.

    If the block ends with an error before it has written a file, nothing new is left behind.

    Args:
      option: the command-line option that names the directory, for messages.

    Raises:
      InUse: another run is using it.
      UserError: the directory cannot be created, written to or locked.
    """
    path = Path(workdir) / NAME
    folder = path.parent
    try:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        before = set(folder.iterdir()) if not missing else set()
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write in {workdir}: {reason(error)}") from None
    with file:
        try:
            locked = lock(file)
        except OSError as error:
            raise UserError(f"cannot lock {path}: {reason(error)}") from None
        if not locked:
            file.seek(0)
            raise InUse(
                f"another run is using {workdir} ({file.read().strip() or 'unknown'}); "
                f"wait for it, or use another {option}"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # a file, or a directory with files
                for new in set(folder.iterdir()) - before - {path}:
                    new.rmdir()
                if path not in before:
                    path.unlink()
                for place in missing:
                    place.rmdir()
            raise
