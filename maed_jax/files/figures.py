"""Writes Matplotlib's figures (extra `viz`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maed_jax.files.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def can_plot() -> bool:
    """Returns whether Matplotlib is installed; if not, says that there are no plots."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        print(
            "maed: no plots: they need matplotlib (pip install '.[viz]' in the source folder)",
            file=sys.stderr,
        )
        return False
    return True


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a PNG. Raises: UserError: it cannot be written."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=DPI)
