"""A short report of what a conversion took, initialised anew and left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# Last parts of names, which tell apart the arrays of a module.
LEAVES = {"kernel", "weight", "scale", "bias", "mean", "var", "running_mean", "running_var"}


class Report(NamedTuple):
    """Names of arrays: ours in `taken` and `anew`, the file's in `left_out`."""

    source: str
    taken: list[str]
    numbers: int
    anew: list[str]
    left_out: list[str]
    notes: list[str]
    """sentences"""

    def __str__(self) -> str:
        lines = [self.source]
        counts = f"{len(self.taken)} arrays, {self.numbers / 1e6:.1f} M numbers"
        for title, names, depth in (
            (f"taken ({counts})", self.taken, 2),
            ("initialised anew", self.anew, 4),
            ("left out", self.left_out, 2),
        ):
            lines.append(f"  {title}{'' if names else ': nothing'}")
            lines += [f"    {group}" for group in grouped(names, depth)]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def grouped(names: Iterable[str], depth: int) -> list[str]:
    """Groups arrays by module, numbered modules as a range, and counts them.

    Args:
      names: names with parts separated by "/" or ".".
      depth: how many parts identify a module. The decoder counts as one module.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = re.split(r"([/.])", name)  # keeps the separators
        end = len(parts) - 2 if parts[-1] in LEAVES else len(parts)
        module = "".join(parts[: 1 if parts[0] == "decoder" else min(2 * depth - 1, end)])
        groups.setdefault(re.sub(r"\d+", "#", module), []).append(module)
    lines = []
    for line, members in groups.items():
        for numbers in zip(*(re.findall(r"\d+", member) for member in members)):
            low, high = min(map(int, numbers)), max(map(int, numbers))
            line = line.replace("#", str(low) if low == high else f"{low}-{high}", 1)
        lines.append(line if len(members) == 1 else f"{line}  ({len(members)} arrays)")
    return lines
