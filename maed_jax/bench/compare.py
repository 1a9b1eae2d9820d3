"""`maed bench compare`: is one result worse than another?

Both files must come from the same benchmark (--json). The comparison uses what is comparable
between machines and hours: time in units of the machine's own matmuls ("yards"), or, if a benchmark
has none, the ratio to a reference implementation. A row is worse if the interquartile range of the
new rounds lies above the old one by more than the tolerance. Exit status 1 if any row is worse.
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
    """new median cost / old median cost; above 1 is slower"""
    gap: float
    """lower quartile of the new cost / upper quartile of the old, minus 1; 0 or less if they
    overlap"""
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
    parser.add_argument(
        "old", metavar="OLD.json", help="result of `maed bench NAME --json OLD.json`"
    )
    parser.add_argument("new", metavar="NEW.json", help="a later result of the same benchmark")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, help="as a fraction of the old cost; default: 0.05"
    )
    options = parser.parse_args(argv)
    if options.tolerance < 0:
        raise UserError("--tolerance must be at least 0")
    verdicts = compare(record.read(options.old), record.read(options.new), options.tolerance)
    lines = [[v.name, f"{v.change:.3f}", f"{v.gap:+.3f}", v.word] for v in verdicts]
    print(record.table(("", "new / old", "gap", ""), lines))
    if any(verdict.word == "worse" for verdict in verdicts):
        sys.exit(1)


def compare(old: dict[str, Any], new: dict[str, Any], tolerance: float) -> list[Verdict]:
    """Returns a verdict for each row that is in both results.

    Raises:
      UserError: they are from different benchmarks, or have no row in common.
    """
    if old["bench"] != new["bench"]:
        raise UserError(f"one result is from bench {old['bench']}, the other from {new['bench']}")
    old_rows = {row["name"]: row for row in old["rows"]}
    pairs = [(old_rows[row["name"]], row) for row in new["rows"] if row["name"] in old_rows]
    verdicts = [
        judge(row["name"], _cost(old_row), _cost(row), tolerance)
        for old_row, row in pairs
        if _cost(old_row) and _cost(row)
    ]
    if not verdicts:
        raise UserError("the two results have no measured row in common")
    return verdicts


def _cost(row: dict[str, Any]) -> dict[str, float] | None:
    """Returns the cost of a row with its spread (smaller is better), or None if not measured."""
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
