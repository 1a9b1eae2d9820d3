"""Writes the files of `maed eval`: the folder of tables and plots, and the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maed_jax.evaluation import report
from maed_jax.evaluation.protocol_run import Result
from maed_jax.files.atomic import atomic_write
from maed_jax.files.figures import can_plot
from maed_jax.files.json import write_json


def write_directory(directory: str | Path, content: dict, results: Sequence[Result]) -> list[Path]:
    """Writes all of `content` and the first protocol's plots into a folder; returns their paths."""
    directory = Path(directory)
    texts = {
        "table.txt": report.as_text(content) + "\n",
        "table.md": report.as_markdown(content),
        "table.csv": report.as_csv(content["rows"]),
        "sequences.csv": report.as_csv(content["sequences"]),
        "joints.csv": report.as_csv(content["joints"]),
    }
    for name, text in texts.items():
        report.write_text(directory / name, text)
    write_json(directory / "results.json", content)
    return [directory / name for name in (*texts, "results.json", *_plots(directory, results))]


def _plots(directory: Path, results: Sequence[Result]) -> list[str]:
    if not can_plot():
        return []
    from maed_jax.evaluation import report_plots

    report_plots.draw_errors(results[0].scores, directory / "errors.png")
    report_plots.draw_worst(results[0], directory / "worst.png")
    return ["errors.png", "worst.png"]


def write_predictions(file: str | Path, result: Result) -> str | Path:
    """Writes one row per frame, see `maed eval --help`; returns the path."""
    columns: dict[str, list] = {}
    for number, track in enumerate(result.scores.tracks):
        values = {
            "track": np.full(len(track.labels), track.name),
            "frame": track.labels.frame,
            **{name: result.predicted[name][number] for name in ("pose", "shape", "camera")},
            "joints": track.joints,
            "target_joints": track.target_joints,
            **{name: track.errors[name] for name in result.scores.protocol.metrics},
        }
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    with atomic_write(file) as out:
        np.savez_compressed(out, **{name: np.concatenate(v) for name, v in columns.items()})
    return file
