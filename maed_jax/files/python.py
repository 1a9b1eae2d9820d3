"""Running the user's own Python files: a mistake in one becomes one line that says where it is."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from maed_jax.errors import UserError


def describe(error: Exception) -> str:
    """Returns the type of an error and the first line of its message."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def mistakes(file: str | Path, reason: Callable[[Exception], str] = describe) -> Iterator[None]:
    """Turns whatever a user's own code raises, here or in a worker process, into a UserError.

    Args:
      file: its path as tracebacks have it; the message names the last of its lines in the
        traceback.
      reason: describes an error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # As text: of a worker process's traceback, only the text arrives here.
        trace = "".join(traceback.format_exception(error))
        lines = re.findall(rf'File "{re.escape(str(file))}", line (\d+), in', trace)
        place = f"{file}, line {lines[-1]}" if lines else file
        raise UserError(f"{place}: {reason(error)}") from None
