"""The results of an evaluation as text, Markdown, CSV and JSON.

A results file (JSON) holds `about` (what was evaluated, and with what), `protocols` (every choice
of each, and its sentence), `rows` (the table), `missing` (metrics that could not be measured, and
why), `sequences` (means per track; `counts` has the number of errors behind each mean) and
`joints` (means per joint).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.evaluation import table
from maed_jax.evaluation.protocol_run import Result
from maed_jax.evaluation.protocols import METRICS, Protocol
from maed_jax.files.atomic import atomic_write
from maed_jax.files.json import check_form, read_json

FORMAT = 1  # of results files
# What readers of results files rely on, in the notation of `check_form`.
FORM = {
    "about": {"dataset": str, "dataset_version": str, "split": str},
    "protocols": [{"label": str, "text": str}],
    "sequences": [
        {"name": str, "protocol": str, "frames": int, "counts": {f"{m}?": int for m in METRICS}}
        | {f"{name}?": (float, None) for name in METRICS}
    ],
}
CORRECTED = ("accel_frame", "accel_second")


def content(results: Sequence[Result], about: dict) -> dict:
    """Returns the content of a results file; unknown numbers are NaN."""
    return {
        "format": FORMAT,
        "about": about,
        "protocols": [
            dataclasses.asdict(p) | {"label": p.label, "text": p.describe()}
            for p in (result.scores.protocol for result in results)
        ],
        "rows": [row for result in results for row in _rows(result)],
        "missing": {
            result.scores.protocol.label: {
                name: why
                for name, why in result.scores.missing.items()
                if name in columns([result.scores.protocol])
            }
            for result in results
        },
        "sequences": [row for result in results for row in _sequences(result)],
        "joints": [row for result in results for row in _joints(result)],
    }


def columns(protocols: Sequence[Protocol]) -> list[str]:
    """Returns the metrics of some protocols in the table's order, with ACCEL's corrected forms.

    If every ACCEL already is within sequences in mm per frame^2, that form is not repeated.
    """
    chosen = {name for p in protocols for name in p.metrics}
    if "accel" in chosen:
        same = all((p.accel, p.accel_unit, p.accel_trim) == ("sequence", "frame", 0)
                   for p in protocols if "accel" in p.metrics)  # fmt: skip
        chosen |= set(CORRECTED[1:] if same else CORRECTED)
    return [name for name in METRICS if name in chosen]


def _rows(result: Result) -> list[dict]:
    protocol, names = result.scores.protocol, columns([result.scores.protocol])
    rows = table.rows("model", result.scores.tracks, names)
    if result.baseline is not None:
        base = table.rows("mean pose", result.baseline.tracks, names)
        ratios = [
            ours | {"predictor": "model / mean pose"}
            | {name: ours[name] / theirs[name] if theirs[name] else math.nan for name in names}
            for ours, theirs in zip(rows, base, strict=True)
        ]  # fmt: skip
        rows = [*rows, *base, *ratios]
    return [{"protocol": protocol.label, **row} for row in rows]


def _sequences(result: Result) -> list[dict]:
    names = columns([result.scores.protocol])
    return [
        {"protocol": result.scores.protocol.label, "name": track.name, "subset": track.subset}
        | table.means([track], names)
        | {"counts": {name: int(np.isfinite(track.errors[name]).sum()) for name in names}}
        for track in result.scores.tracks
    ]


def _joints(result: Result) -> list[dict]:
    tracks = result.scores.tracks
    errors, aligned_errors = (
        np.concatenate([getattr(track, name) for track in tracks])
        for name in ("joint_errors", "pa_joint_errors")
    )
    return [
        {
            "protocol": result.scores.protocol.label,
            "joint": name,
            "mpjpe": _mean(errors[:, i]),
            "pa_mpjpe": _mean(aligned_errors[:, i]),
        }
        for i, name in enumerate(result.scores.protocol.joint_set.names)
    ]


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan


# --- As text --------------------------------------------------------------------------------------


def cells(rows: Sequence[dict]) -> list[list[str]]:
    """Returns the lines of a table, titles first; metrics that a protocol lacks are empty."""
    names = [name for name in METRICS if any(name in row for row in rows)]
    lines = [
        ["protocol", "predictor", "subset", "frames", *(METRICS[name].title for name in names)]
    ]
    before = ("", "")
    for row in rows:
        label, predictor = row["protocol"], row["predictor"]
        decimals = 2 if "/" in predictor else 1
        lines.append(
            [
                label if label != before[0] else "",
                predictor if (label, predictor) != before else "",
                row["subset"],
                str(row["frames"]),
                *(number(row[name], decimals) if name in row else "" for name in names),
            ]
        )
        before = label, predictor
    return lines


def number(value: float | None, decimals: int = 1) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def text_table(lines: Sequence[Sequence[str]], left: int = 3, group_by: int | None = None) -> str:
    """Formats lines of cells as aligned text, the first `left` columns flush left.

    An empty line precedes each line that has text in column `group_by`.
    """
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        if group_by is not None and line[group_by] and text:
            text.append("")
        parts = [
            cell.ljust(width) if i < left else cell.rjust(max(width, 8))
            for i, (cell, width) in enumerate(zip(line, widths))
            if i >= left or width
        ]
        text.append("  ".join(parts).rstrip())
    return "\n".join(text)


def markdown_table(lines: Sequence[Sequence[str]], left: int = 3) -> str:
    rule = ["---" if i < left else "---:" for i in range(len(lines[0]))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def notes(results: dict) -> list[str]:
    """Returns the notes below a table: the protocols, units, and why figures are missing."""
    lines = [p["text"] + "." for p in results["protocols"]]
    names = {name for row in results["rows"] for name in row}
    if "accel_second" in names:
        lines.append(
            "The columns after ACCEL are its corrected form: within sequences, over consecutive "
            "frames only."
        )
    percent = "; PCK (150 mm) and AUC (0 to 150 mm) in %" if "pck" in names else ""
    lines.append(f"Errors in mm, ACCEL as stated above{percent}.")
    for label, reasons in results["missing"].items():
        lines += [f"-: {label}: no {why}." for why in dict.fromkeys(reasons.values())]
    lines += results["about"].get("notes", [])
    return lines


def title(results: dict) -> str:
    about = results["about"]
    return (
        f"{about['dataset']} {about['dataset_version']}, split {about['split']}; "
        f"{about['checkpoint']}, step {about['step']}"
    )


def as_text(results: dict) -> str:
    return "\n".join(
        [title(results), "", text_table(cells(results["rows"]), group_by=1), "", *notes(results)]
    )


def as_markdown(results: dict) -> str:
    listed = "\n".join(f"- {note.removeprefix('-: ')}" for note in notes(results))
    return f"{title(results)}\n\n{markdown_table(cells(results['rows']))}\n\n{listed}\n"


def as_csv(rows: Sequence[dict]) -> str:
    """Formats rows as CSV with a column for every key of any row; unknown numbers are empty."""
    names = list(
        dict.fromkeys(k for row in rows for k, v in row.items() if not isinstance(v, dict))
    )
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if _unknown(v) else v for k, v in row.items() if k in names})
    return out.getvalue()


def _unknown(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


# --- Files ----------------------------------------------------------------------------------------


def write_text(file: str | Path, text: str) -> None:
    """Writes a file atomically.

    Raises:
      UserError: it cannot be written.
    """
    with atomic_write(file, "w") as out:
        out.write(text)


def read(file: str | Path) -> dict:
    """Reads a results file, or the one in a folder written by `maed eval --out`.

    Raises:
      UserError: it is missing or is not a results file.
    """
    if Path(file).is_dir():
        file = Path(file) / "results.json"
    try:
        results = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {reason(error)}") from None
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise UserError(f"{file} is not a results file of this version of maed eval")
    try:
        check_form(results, FORM)
    except ValueError as error:
        raise UserError(f"{file} is not a valid results file of maed eval: {error}") from None
    return results
