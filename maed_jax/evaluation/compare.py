"""`maed compare`: compare two results of `maed eval` on the same split, sequence by sequence."""

from __future__ import annotations

import argparse
import re
import zlib

import numpy as np

from maed_jax.arguments import Parser
from maed_jax.errors import UserError
from maed_jax.evaluation.protocol_choice import family
from maed_jax.evaluation.protocols import METRICS
from maed_jax.files.atomic import check_writable
from maed_jax.files.json import write_json

DRAWS = 10_000
# By dataset: the end of track names that distinguishes tracks of one recording. It may be followed
# by `PART`, the first frame of a part between gaps.
RECORDING_SUFFIX = {"3dpw": r"_\d+", "h36m": r"\.\d+"}
PART = r"(:\d+)?$"
FEW = 5  # with fewer sequences a bootstrap says little
EPILOG = """\
Differences are B - A of means over frames. The 95 % intervals come from a paired bootstrap:
sequences are drawn with replacement, the same ones for A and B, because frames of one sequence are
not independent. The parts of a track between gaps count as one sequence, as do the people of a 3DPW
recording and the cameras of a Human3.6M recording. In other datasets every track is a sequence,
unless --recording_suffix says what to strip: '_\\d+' makes one sequence of walk_0 and walk_1.
If the interval excludes 0, the difference is unlikely to come from the choice of sequences alone.
"""


def main(argv: list[str]) -> None:
    parser = Parser(
        prog="maed compare",
        description=__doc__.partition(": ")[2].capitalize(),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "a", metavar="A", help="results.json of maed eval, or the folder passed as its --out"
    )
    parser.add_argument("b", metavar="B", help="the same for another model, step or setting")
    parser.add_argument("--protocol", help="protocol to compare (default: the first in both files)")
    parser.add_argument(
        "--recording_suffix",
        metavar="REGEX",
        type=_pattern,
        help="end of track names to strip, so that tracks of one recording share a name "
        "(default: that of 3DPW or Human3.6M, none for other datasets)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the comparison as JSON")
    options = parser.parse_args(argv)
    check_writable(options.json)
    from maed_jax.evaluation import report

    results = report.read(options.a), report.read(options.b)
    comparison = compare(*results, options.protocol, options.recording_suffix)
    print(as_text(comparison, options.a, options.b))
    if options.json:
        write_json(options.json, comparison)
        print(f"wrote {options.json}")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        what = f"{text!r} is not a regular expression ({error})"
        raise argparse.ArgumentTypeError(what) from None
    return text


def compare(
    a: dict, b: dict, protocol: str | None = None, recording_suffix: str | None = None
) -> dict:
    """Compares the contents of two results files.

    Args:
      protocol: label of the protocol to compare; default: the first in both files.
      recording_suffix: regular expression for the end of track names to strip, so that tracks of
        one recording share a name; default: the dataset's in `RECORDING_SUFFIX`.

    Returns:
      `protocol` (its sentence), the numbers of `sequences`, `tracks` and `frames`, and `metrics`:
      for each metric `a`, `b`, `difference`, its `low` and `high`, the number of `tracks` measured,
      and the number in which B is `better`.

    Raises:
      UserError: the files differ in protocol, split or frames.
    """
    for key in ("dataset", "dataset_version", "split"):
        if a["about"][key] != b["about"][key]:
            raise UserError(
                f"the results cannot be compared: {key} is {a['about'][key]} in one and "
                f"{b['about'][key]} in the other"
            )
    chosen = _protocol(a, b, protocol)
    rows_a, rows_b = (
        {row["name"]: row for row in results["sequences"] if row["protocol"] == chosen["label"]}
        for results in (a, b)
    )
    names = sorted(rows_a.keys() | rows_b.keys())
    if differ := [
        name
        for name in names
        if rows_a.get(name, {}).get("frames") != rows_b.get(name, {}).get("frames")
    ]:
        raise UserError(
            f"the results cannot be compared: {len(differ)} of {len(names)} tracks, such as "
            f"{differ[0]}, do not have the same frames in both"
        )
    pairs = [(rows_a[name], rows_b[name]) for name in rows_a if rows_a[name]["frames"]]
    if not pairs:
        raise UserError("the results cannot be compared: no track was measured")
    pairs_a, metrics = [row for row, _ in pairs], {}
    if recording_suffix is None:
        recording_suffix = RECORDING_SUFFIX.get(family(a["about"]["dataset"]), "")
    end = f"(?:{recording_suffix})?{PART}"
    _, sequence = np.unique([re.sub(end, "", row["name"]) for row in pairs_a], return_inverse=True)
    for name in METRICS:
        values = np.array([[row.get(name) for row in pair] for pair in pairs], np.float64)
        counts = np.array([row["counts"].get(name, 0) for row in pairs_a])
        finite = np.isfinite(values).all(1) & (counts > 0)
        if finite.any():
            counts = counts[finite]
            metrics[name] = paired_bootstrap(*pooled(values[finite], counts, sequence[finite]))
            metrics[name] |= {
                "better": int(_better(name, values[finite]).sum()),
                "tracks": int(finite.sum()),
            }
    return {
        "protocol": chosen["text"],
        "tracks": len(pairs),
        "sequences": int(sequence.max()) + 1,
        "frames": sum(row["frames"] for row in pairs_a),
        "metrics": metrics,
    }


def _better(name: str, values: np.ndarray) -> np.ndarray:
    difference = values[:, 1] - values[:, 0]
    return difference > 0 if METRICS[name].unit == "%" else difference < 0


def _protocol(a: dict, b: dict, label: str | None) -> dict:
    in_a, in_b = ({p["label"]: p for p in results["protocols"]} for results in (a, b))
    shared = [name for name in in_a if name in in_b]
    if label is not None and label not in shared:
        raise UserError(
            f"protocol {label!r} is not in both files; shared: {', '.join(shared) or 'none'}"
        )
    if not shared:
        raise UserError(
            f"the files share no protocol: {', '.join(in_a)} in one, {', '.join(in_b)} in the other"
        )
    return in_a[label or shared[0]]


def pooled(
    values: np.ndarray, weights: np.ndarray, sequence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pools means over tracks, `[tracks 2]`, into means over sequences, `[sequences 2]`.

    Args:
      weights: the number of errors behind each mean, `[tracks]`.
      sequence: the sequence that each track belongs to, `[tracks]`.

    Returns:
      The means and the number of errors behind each, `[sequences]`.
    """
    _, sequence = np.unique(sequence, return_inverse=True)
    total = np.bincount(sequence, weights)
    sums = [np.bincount(sequence, weights * column) for column in values.T]
    return np.stack(sums, -1) / total[:, None], total


def paired_bootstrap(values: np.ndarray, weights: np.ndarray, draws: int = DRAWS) -> dict:
    """Computes weighted means and the 95 % interval of their difference by a paired bootstrap.

    Args:
      values: means of A and B for each sequence, `[sequences 2]`.
      weights: the number of errors behind each mean, `[sequences]`.

    Returns:
      `a`, `b`, `difference` (b - a), `low`, `high`. Deterministic: the values seed the draws.
    """
    difference = values[:, 1] - values[:, 0]
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(values).tobytes()))
    chosen = rng.integers(len(values), size=(draws, len(values)))
    drawn = (difference * weights)[chosen].sum(1) / weights[chosen].sum(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    a, b = np.average(values, axis=0, weights=weights)
    return {"a": a, "b": b, "difference": b - a, "low": float(low), "high": float(high)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def as_text(result: dict, name_a: str, name_b: str) -> str:
    from maed_jax.evaluation import report

    lines = [["", "A", "B", "B - A", "95 % interval", "B better in"]]
    for name, m in result["metrics"].items():
        values = [report.number(m[key], 2) for key in ("a", "b")]
        signed = [f"{m[key]:+.2f}" for key in ("difference", "low", "high")]
        interval = f"{signed[1]} to {signed[2]}"
        better = f"{m['better']} of {m['tracks']}"
        lines.append([METRICS[name].title, *values, signed[0], interval, better])
    sequences, tracks = (_count(result[kind], kind[:-1]) for kind in ("sequences", "tracks"))
    few = [f"An interval over only {sequences} says little."] if result["sequences"] < FEW else []
    return "\n".join(
        [
            f"A: {name_a}",
            f"B: {name_b}",
            f"{sequences}, {tracks}, {result['frames']} frames",
            *few,
            "",
            report.text_table(lines, left=1),
            "",
            result["protocol"] + ".",
        ]
    )


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
