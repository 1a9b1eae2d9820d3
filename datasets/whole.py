"""Datasets that are not all there: an error, or by request a notice."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from maed_jax.errors import UserError


def add_partial_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--partial", action="store_true",
        help="make do with the part of the dataset that is there; without it a missing part is an "
        "error",
    )  # fmt: skip


def complain(folder: Path, missing: Sequence[str], *, partial: bool) -> None:
    """Says what is missing of a dataset.

    Args:
      missing: names of files or folders below `folder`. partial: whether that is all right.

    Raises:
      UserError: something is missing, and it is not.
    """
    if not missing:
        return
    named = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if missing[4:] else "")
    if not partial:
        raise UserError(f"{folder} lacks {named}; --partial makes do with what there is")
    print(f"maed: {folder} lacks {named}: going on without", file=sys.stderr)
