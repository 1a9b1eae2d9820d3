"""What the benchmarks share besides timing: options, rows, tables and files."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maed_jax import machine
from maed_jax.arguments import Parser, positive
from maed_jax.bench.clock import Times, mean_rates, spread
from maed_jax.errors import UserError, reason
from maed_jax.files.atomic import check_writable
from maed_jax.files.json import read_json, write_json

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def parser(name: str, doc: str) -> argparse.ArgumentParser:
    """Returns the parser of `maed bench NAME`, with its module's docstring and output options."""
    summary, _, rest = doc.partition("\n\n")
    parser = Parser(
        prog=f"maed bench {name}",
        description=summary.partition(": ")[2].capitalize(),
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--plot", metavar="FILE.png", help="plot them (matplotlib, extra viz)")
    return parser


def timed_parser(name: str, doc: str, rounds: int = 5) -> argparse.ArgumentParser:
    """Returns the same with the options for timing; `rounds` is the default."""
    timed = parser(name, doc)
    add_rounds(timed, rounds)
    timed.add_argument(
        "--cpu",
        action="store_true",
        help="measure CPU time over all of our threads instead of wall-clock time, for machines "
        "with other load; time that threads wait for each other is left out",
    )
    return timed


def add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--rounds", type=positive(int), default=default, help="default: %(default)s"
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds --config; pass the unparsed arguments to `load` as its overrides."""
    parser.add_argument(
        "--config", default="stage2", metavar="NAME",
        help="default: stage2; --config.KEY=VALUE changes a setting",
    )  # fmt: skip


def load(config: str, overrides: Sequence[str]) -> ConfigDict:
    """Loads the configuration to measure, with the built-in body unless overridden.

    Raises:
      UserError: see `load_config`.
    """
    from maed_jax.runs.config import load_config

    return load_config(config, ["--config.body=mannequin", *overrides])


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Returns the clock that the options select."""
    return time.process_time if options.cpu else time.perf_counter


def check(options: argparse.Namespace) -> None:
    """Checks the common options before the work starts.

    Raises:
      UserError: a file cannot be written, or matplotlib is missing.
    """
    for path in (options.json, options.plot):
        check_writable(path)
    if options.plot:
        import importlib.util

        if importlib.util.find_spec("matplotlib") is None:
            raise UserError("--plot needs matplotlib: pip install '.[viz]' in the source folder")


def row(
    name: str, times: Times, rates: Sequence[float], operations: int = 0, original: int = 0
) -> dict[str, Any]:
    """Returns a row of a result: what a case took, in seconds and in units of the yardstick.

    "yards" is the number of operations that the machine's own matmuls do in the case's time;
    "share" is the fraction of the matmul rate that the case reaches, and "original share" the same,
    counting the operations of the original's network.

    Args:
      rates: the yardstick's, at each of its readings.
      operations, original: of one call of our program and of the original; 0: not counted.
    """
    yards = [s * rate for s, rate in zip(times.seconds, mean_rates(times, rates))]
    found = {"name": name, "seconds": spread(times.seconds), "yards": spread(yards)}
    for key, amount in (("", operations), ("original ", original)):
        if amount:
            found[f"{key}operations"] = amount
            found[f"{key}share"] = spread(amount / y for y in yards)
    return found


def write(path: str | None, bench: str, rows: list[dict], **more: Any) -> None:
    """Writes a result as JSON, if a path is given.

    Args:
      more: further content: settings, the yardstick's summary.
    """
    if path:
        found = machine.environment()
        if jax := sys.modules.get("jax"):
            found["devices"] = jax.device_count()
        if hasattr(os, "getloadavg"):  # to see how busy the machine was
            found["load"] = [round(value, 2) for value in os.getloadavg()]
        content = {"bench": bench, "machine": found, **more, "rows": rows}
        write_json(path, content)
        print(f"wrote {path}")


def read(path: str) -> dict[str, Any]:
    """Reads a file of `write`.

    Raises:
      UserError: the file is missing or is not such a file.
    """
    spread = {"median": float, "low": float, "high": float}
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder: pass the file that maed bench wrote with --json")
    form = {"bench": str, "rows": [{"name": str, "yards?": spread, "ratio?": spread}]}
    try:
        return read_json(path, form)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a result of maed bench: {reason(error)}"
        ) from None


# Of the tables of programs that XLA compiles: the network and the training step.
TITLES = (
    "",
    "seconds",
    "G operations",
    "of matmul rate",
    "own operations",
    "GB",
    "GiB memory",
    "compile time",
)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats aligned columns, the first flush left and the others flush right."""
    lines = [tuple(titles), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def median_range(values: Mapping[str, float] | None, form: str = "{:.3g}", times: float = 1) -> str:
    """Formats the median and, in brackets, the interquartile range over rounds."""
    if values is None:
        return ""
    median, low, high = (form.format(times * values[key]) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def yardstick_lines(summary: Mapping[str, Any]) -> str:
    """Formats the machine's own rates for printing."""
    parts = []
    for name, values in summary["rates"].items():
        form = "{:.0f}" if "matmuls" in name else "{:.1f}"
        parts.append(f"{name} {median_range(values, form, 1e-9)}")
    lines = "the machine's own rates, G operations/s and GB/s: " + "; ".join(parts)
    if environment := summary["environment"]:
        listed = ", ".join(f"{name}={value}" for name, value in environment.items())
        lines += f"\nenvironment variables that affect them: {listed}"
    return lines


def say(text: str) -> None:
    print(text, file=sys.stderr)
