"""The results of an evaluation as table rows: means over each subset and over all frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maed_jax.evaluation.scoring import PLAIN, TrackScores

ALL = "all"

Row = dict[str, str | int | float]


def rows(
    predictor: str, scores: Sequence[TrackScores], metrics: Sequence[str] = PLAIN.metrics
) -> list[Row]:
    """Returns a row per subset, then one for all: means over frames, and their number `frames`."""
    subsets = [s for s in dict.fromkeys(track.subset for track in scores) if s]
    groups = {name: [s for s in scores if s.subset == name] for name in subsets} | {ALL: scores}
    return [
        {"predictor": predictor, "subset": name} | means(group, metrics)
        for name, group in groups.items()
    ]


def means(scores: Sequence[TrackScores], metrics: Sequence[str]) -> Row:
    """Returns means over the frames of tracks, NaN if there are none, and their number `frames`."""
    found: Row = {"frames": int(sum(np.isfinite(t.errors["mpjpe"]).sum() for t in scores))}
    for name in metrics:
        values = np.concatenate([track.errors[name] for track in scores])
        values = values[~np.isnan(values)]
        found[name] = float(values.mean()) if values.size else float("nan")
    return found
