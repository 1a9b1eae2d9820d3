"""Summarises the results of single runs as means and deviations over seeds, for results.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from maed_jax.ablation.rows import LINE_OF, ROWS
from maed_jax.body.skeleton import LEVELS
from maed_jax.data.pipeline import dataset_to_evaluate
from maed_jax.evaluation import scoring

JOINT_ERRORS = ("position_mm", "rotation_deg")
DECODER_PAIRS = (("ste-ktd", "ste-iterative"), ("cnn-ktd", "cnn-iterative"))
"""rows that differ only in the decoder"""


def stat(values: Iterable[float | None]) -> dict[str, Any]:
    """Returns mean, sample standard deviation (None for a single value), number and values."""
    known = [float(v) for v in values if v is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "n": len(known),
        "values": known,
    }


def stats(rows: Sequence[Sequence[float | None]]) -> list[dict[str, Any]]:
    """Returns the `stat` of each column of `rows`, which has one row per seed."""
    return [stat(column) for column in zip(*rows)]


def by_depth(joints: Sequence[float]) -> list[float]:
    """Averages 24 values over the joints at each depth of SMPL's tree: `[levels]`."""
    return [float(np.mean([joints[j] for j in level])) for level in LEVELS]


def summarise(results: Sequence[dict], mean_pose: dict, settings: dict) -> dict:
    """Returns the content of results.json.

    Args:
      results: from `study.run_row`, one per row and seed.
      mean_pose: from `study.measure_mean_pose`.
      settings: of the study.
    """
    by_row = {name: [r for r in results if r["row"] == name] for name in ROWS}
    by_row = {name: sorted(runs, key=lambda r: r["seed"]) for name, runs in by_row.items() if runs}
    environments: list[dict] = []
    for result in results:
        if result["environment"] not in environments:
            environments.append(result["environment"])
    body = settings["body"]
    return {
        "about": {
            "dataset": dataset_to_evaluate(settings["data"]),
            "split": settings["study"]["test_split"],
            "body": body,
            "protocol": scoring.PLAIN.describe(),
            "paper": "Wan et al., ICCV 2021, Table 2: with another body and other data (3DPW)",
        },
        "settings": settings,
        "environments": environments,
        "seconds": sum(sum(r["seconds"].values()) for r in results),
        "mean_pose": mean_pose | {"depth": _depths(mean_pose)},
        "rows": {name: _row(name, runs) for name, runs in by_row.items()},
        "claims": {
            "gates": {
                name: _gates(runs)
                for name, runs in by_row.items()
                if all("gates" in r for r in runs)
            },
            "decoders": {
                f"{a} - {b}": _difference(by_row[a], by_row[b])
                for a, b in DECODER_PAIRS
                if _seeds(by_row, a) & _seeds(by_row, b)
            },
        },
        "runs": {name: {str(r["seed"]): r for r in runs} for name, runs in by_row.items()},
    }


def _row(name: str, runs: Sequence[dict]) -> dict:
    first, line = runs[0], LINE_OF[name]
    depths = [_depths(run) for run in runs]
    return {
        **{key: first[key] for key in ("encoder", "mode", "decoder", "parameters")},
        "paper_3dpw": {"pa_mpjpe": line.pa_mpjpe, "mpjpe": line.mpjpe},
        "seeds": [run["seed"] for run in runs],
        "subsets": {
            subset: {
                metric: stat(run["subsets"][subset][metric] for run in runs)
                for metric in scoring.PLAIN.metrics
            }
            for subset in first["subsets"]
        },
        "depth": {kind: stats([d[kind] for d in depths]) for kind in JOINT_ERRORS},
        "blanked": {
            "fractions": first["blanked"]["fractions"],
            **{m: stats([r["blanked"][m] for r in runs]) for m in ("mpjpe", "pa_mpjpe")},
        },
        "last_losses": {
            stage: stat(r["last_losses"][stage] for r in runs) for stage in first["last_losses"]
        },
        "seconds": {part: stat(r["seconds"][part] for r in runs) for part in first["seconds"]},
    }


def _seeds(by_row: dict[str, list[dict]], name: str) -> set[int]:
    return {run["seed"] for run in by_row.get(name, ())}


def _depths(result: dict) -> dict[str, list[float]]:
    return {kind: by_depth(result["joints"][kind]) for kind in JOINT_ERRORS}


def _gates(runs: Sequence[dict]) -> dict:
    """Returns how the temporal gate of each block responds to occlusion, over seeds."""
    blanked, subsets = [r["blanked"] for r in runs], [r["gates"]["subsets"] for r in runs]

    def curves(name):  # [fractions][blocks] of stats
        return [stats(rows) for rows in zip(*(b[name] for b in blanked))]

    def difference(over, under):  # lists over blocks
        return [a - b for a, b in zip(over, under)]

    both = [s for s in subsets if {"plain", "occlusion"} <= s.keys()]
    return {
        "fractions": blanked[0]["fractions"],
        "gate": curves("gate"),
        "gate_others": curves("gate_others"),
        "change": stats([difference(b["gate"][-1], b["gate"][0]) for b in blanked]),
        "correlation": stats([b["gate_correlation"] for b in blanked]),
        "subsets": {name: stats([s[name] for s in subsets]) for name in subsets[0]},
        "occlusion_less_plain": stats([difference(s["occlusion"], s["plain"]) for s in both]),
        "occlusion_correlation": stats([r["gates"]["occlusion_correlation"] for r in runs]),
    }


def _difference(over: Sequence[dict], under: Sequence[dict]) -> dict:
    """Subtracts one row's errors by depth from another's, for each seed that both have."""
    others = {run["seed"]: _depths(run) for run in under}
    pairs = [(_depths(run), others[run["seed"]]) for run in over if run["seed"] in others]
    return {
        kind: stats([[x - y for x, y in zip(a[kind], b[kind])] for a, b in pairs])
        for kind in JOINT_ERRORS
    }
