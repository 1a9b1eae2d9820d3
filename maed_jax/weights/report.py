"""What a conversion took, made anew and left out, in a few lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# Last parts of names that say which array of a module it is.
LEAVES = {"kernel", "weight", "scale", "bias", "mean", "var", "running_mean", "running_var"}


class Report(NamedTuple):
    """Names of arrays: ours in `taken` and `anew`, those of the file in `left_out`."""

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
    """The modules to which arrays belong, numbered ones as a range, with how many arrays they have.

    Args:
      names: parts divided by "/" or ".".
      depth: how many parts tell a module. The decoder is one.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = re.split(r"([/.])", name)  # the dividers too
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
