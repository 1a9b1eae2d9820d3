"""The figures of an evaluation as rows, and the rows as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maed_jax.evaluation.scoring import TrackScores

COLUMNS = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pve": "PVE", "accel": "ACCEL"}
ALL = "all"

Row = dict[str, str | int | float]


def rows(predictor: str, scores: Sequence[TrackScores]) -> list[Row]:
    """One row for each subset, then one for all: means over frames, `frames` how many."""
    subsets = [s for s in dict.fromkeys(track.subset for track in scores) if s]
    return [_row(predictor, name, [s for s in scores if s.subset == name]) for name in subsets] + [
        _row(predictor, ALL, scores)
    ]


def _row(predictor: str, subset: str, scores: Sequence[TrackScores]) -> Row:
    means: Row = {"predictor": predictor, "subset": subset}
    means["frames"] = int(sum(np.isfinite(track.mpjpe).sum() for track in scores))
    for name in COLUMNS:
        values = np.concatenate([getattr(track, name) for track in scores])
        values = values[~np.isnan(values)]
        means[name] = float(values.mean()) if values.size else float("nan")
    return means


def ratios(predictor: str, over: Sequence[Row], under: Sequence[Row]) -> list[Row]:
    """Rows of `over` divided by those of `under`."""
    return [
        {"predictor": predictor, "subset": a["subset"], "frames": a["frames"]}
        | {name: a[name] / b[name] if b[name] else float("nan") for name in COLUMNS}
        for a, b in zip(over, under, strict=True)
    ]


def render(groups: Sequence[Sequence[Row]]) -> str:
    """Groups of rows as an aligned table, one group below the other."""
    lines = [("", "", "frames", *COLUMNS.values())]
    for group in groups:
        for i, row in enumerate(group):
            ratio = "/" in row["predictor"]
            cells = [f"{row[name]:.2f}" if ratio else f"{row[name]:.1f}" for name in COLUMNS]
            cells = ["-" if cell == "nan" else cell for cell in cells]
            lines.append(
                (row["predictor"] if i == 0 else "", row["subset"], str(row["frames"]), *cells)
            )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        if line[0] and text:
            text.append("")
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths)]
        right = [cell.rjust(max(width, 8)) for cell, width in zip(line[2:], widths[2:])]
        text.append("  ".join(left + right).rstrip())
    return "\n".join(text)
