"""Python files of the user's that are run: a mistake in one is one line that names its place."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from maed_jax.errors import UserError


def told(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def mistakes(file: str | Path, reason: Callable[[Exception], str] = told) -> Iterator[None]:
    """Makes a UserError of whatever a user's own code raises, here or in a worker process.

    Args:
      file: as Python's module of it has it; the last line of it on the error's way is named.
      reason: what to say of an error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # As text, for that of a worker process is all that is left of where it went.
        went = "".join(traceback.format_exception(error))
        lines = re.findall(rf'File "{re.escape(str(file))}", line (\d+), in', went)
        place = f"{file}, line {lines[-1]}" if lines else file
        raise UserError(f"{place}: {reason(error)}") from None
