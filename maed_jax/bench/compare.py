"""`maed bench compare`: whether one result is worse than another, by the yardstick.

    maed bench compare OLD.json NEW.json [--tolerance 0.05]

Both files are of one benchmark (--json). What is compared is what holds between machines and hours:
the time in units of the machine's own matrix products ("yards"), or the ratio to a peer where a
benchmark has no yardstick. A row is worse where the middle halves of the rounds do not meet and the
gap between them is more than the tolerance. Exit status 1 if any row is worse.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple

from maed_jax.arguments import Parser
from maed_jax.bench import record
from maed_jax.errors import UserError


class Verdict(NamedTuple):
    name: str
    change: float
    """the new median cost over the old one: above 1 is slower"""
    gap: float
    """by what share the better end of the new cost is above the worse end of the old; 0 or less
    where they meet"""
    word: str
    """worse, better or same"""


def main(argv: list[str]) -> None:
    summary, _, more = __doc__.partition("\n\n")
    parser = Parser(
        prog="maed bench compare",
        description=summary.partition(": ")[2].capitalize(),
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--tolerance", type=float, default=0.05, help="default: 0.05")
    options = parser.parse_args(argv)
    if options.tolerance < 0:
        raise UserError("--tolerance must be at least 0")
    verdicts = compare(record.read(options.old), record.read(options.new), options.tolerance)
    lines = [[v.name, f"{v.change:.3f}", f"{v.gap:+.3f}", v.word] for v in verdicts]
    print(record.table(("", "new / old", "gap", ""), lines))
    if any(verdict.word == "worse" for verdict in verdicts):
        sys.exit(1)


def compare(old: dict[str, Any], new: dict[str, Any], tolerance: float) -> list[Verdict]:
    """A verdict for each row that both results have.

    Raises:
      UserError: they are of different benchmarks, or have no such rows.
    """
    if old["bench"] != new["bench"]:
        raise UserError(f"one result is of {old['bench']} and the other of {new['bench']}")
    before = {row["name"]: row for row in old["rows"]}
    pairs = [(before[row["name"]], row) for row in new["rows"] if row["name"] in before]
    verdicts = [
        judge(row["name"], _cost(was), _cost(row), tolerance)
        for was, row in pairs
        if _cost(was) and _cost(row)
    ]
    if not verdicts:
        raise UserError("the two results have no measured row in common")
    return verdicts


def _cost(row: dict[str, Any]) -> dict[str, float] | None:
    """What is better the smaller it is, with its spread."""
    if yards := row.get("yards"):
        return yards
    if ratio := row.get("ratio"):
        return {"median": 1 / ratio["median"], "low": 1 / ratio["high"], "high": 1 / ratio["low"]}
    return None


def judge(name: str, old: dict[str, float], new: dict[str, float], tolerance: float) -> Verdict:
    """Compares two costs."""
    slower, faster = new["low"] / old["high"] - 1, old["low"] / new["high"] - 1
    word = "worse" if slower > tolerance else "better" if faster > tolerance else "same"
    return Verdict(name, new["median"] / old["median"], slower, word)


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
