"""One run at a time in a work directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from maed_jax.errors import UserError

NAME = ".lock"


class InUse(UserError):
    """Another run is in the directory."""


@contextlib.contextmanager
def only_run_in(workdir: str | Path, option: str = "--workdir") -> Iterator[None]:
    """Keeps other runs out of `workdir`, which is made where it is not there.

    The lock is the operating system's, on an open file: it goes with its process, however that
    ends. On file systems without locks there is none.

    Args:
      option: what names the directory on the command line, for messages.

    Raises:
      InUse: another run is there.
      UserError: the directory cannot be made.
    """
    path = Path(workdir) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write in {workdir}: {error.strerror or error}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InUse(
                f"another run is going on in {workdir} ({file.read().strip() or 'unknown'}); "
                f"wait for it, or use another {option}"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise UserError(f"cannot lock {path}: {error.strerror}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield
