"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maed_jax.errors import UserError


@contextlib.contextmanager
def whole_file(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Gives a file to write, which has its name once the block has ended well.

    Until then it is `<name>.<random>.part`, which an error removes; what was there before stays
    till then. Of two programs that write the same file at once, the one that ends last is kept.

    Args:
      mode: "wb", or "w" for text, UTF-8.

    Raises:
      UserError: it cannot be written, for want of room or permission.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open(mode, encoding="utf-8" if mode == "w" else None) as file:
            yield file
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be written: {reason}") from None
