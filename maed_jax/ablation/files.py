"""The files of a study: settings, results, times.

DIR/config.json, DIR/mean_pose.json, DIR/<row>/<seed>/{stage1,stage2,train.log,seconds.json,
result.json}, and the report: DIR/results.json, report.md and plots.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from maed_jax.ablation.rows import ROWS
from maed_jax.errors import UserError, reason
from maed_jax.files import json as json_files
from maed_jax.files.json import read_json_lines, write_json
from maed_jax.runs.config import check_same_run

RESULT = "result.json"


def claim_directory(config: ConfigDict, workdir: Path) -> None:
    """Writes the study's settings to `workdir`, after checking them against any already there.

    The seeds may differ.

    Raises:
      UserError: `workdir` holds a study with other settings, or cannot be written.
    """
    from maed_jax.runs.checkpoints import read_config, write_config

    if (earlier := read_config(workdir)) is not None:
        old, new = (ConfigDict(c.to_dict()).unlock() for c in (earlier, config))
        old.study.seeds = new.study.seeds
        check_same_run(old, new, workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_config(workdir, config)
    except OSError as error:
        raise UserError(f"cannot write {workdir}: {reason(error)}") from None


def result_path(workdir: Path, name: str, seed: int) -> Path:
    return workdir / name / str(seed) / RESULT


def read_results(workdir: Path) -> list[tuple[str, int, dict]]:
    """Returns (row, seed, result) of every finished run, with rows in the table's order."""
    return [
        (name, int(path.parent.name), read_json(path))
        for name in ROWS
        for path in sorted(
            (p for p in (workdir / name).glob(f"*/{RESULT}") if p.parent.name.isdecimal()),
            key=lambda p: int(p.parent.name),
        )
    ]


def read_json(path: Path) -> dict:
    """Reads a JSON object. Raises: UserError: it is missing or damaged."""
    try:
        return json_files.read_json(path, dict)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and run again") from None


def last_loss(workdir: Path, every: int) -> float | None:
    """Returns the mean loss over the last logging interval, of `every` steps, or None.

    A run that was interrupted within it has logged means over parts of it; these are averaged.
    """
    lines = read_json_lines(workdir / "metrics.jsonl", {"step": int, "loss": float})
    means = {line["step"]: line["loss"] for line in lines}
    if not means:
        return None
    begin = (max(means) - 1) // every * every
    steps = [begin, *sorted(step for step in means if step > begin)]
    losses = [means[step] for step in steps[1:]]
    return float(np.average(losses, weights=np.diff(steps)))


@contextlib.contextmanager
def timed(directory: Path, stage: str) -> Iterator[None]:
    """Adds the time spent inside to the stage's seconds, which accumulate over attempts."""
    path = directory / "seconds.json"
    begin = time.monotonic()
    try:
        yield
    finally:
        seconds = read_json(path) if path.exists() else {}
        seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - begin, 1)
        write_json(path, seconds)
