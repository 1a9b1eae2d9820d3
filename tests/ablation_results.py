"""Results of a study as its runs write them, with values that identify row and seed."""

import itertools
import json

from maed_jax.ablation.measure import FRACTIONS
from maed_jax.ablation.rows import ROWS
from maed_jax.runs.config import load_config

SUBSETS = ("plain", "occlusion", "all")


def figures(value):
    return {
        name: {"predictor": "model", "subset": name, "frames": 8}
        | {"mpjpe": value + 10, "pa_mpjpe": value, "pve": value + 20, "accel": value / 10}
        for name in SUBSETS
    }


def result(row, seed, value=50.0):
    """A run's result: PA-MPJPE is `value`, a joint's position error value + joint, its angle error
    2 value + joint, and the gate of block 2 the blanked fraction."""
    gated = ROWS[row].encoder == "ste" and ROWS[row].mode == "parallel"
    blanked = {"fractions": list(FRACTIONS)}
    blanked |= {name: [value + 10 * f for f in FRACTIONS] for name in ("mpjpe", "pa_mpjpe")}
    if gated:
        blanked |= {"gate": [[0.4, f] for f in FRACTIONS], "gate_correlation": [None, 1.0]}
        blanked |= {"gate_others": [[0.4, 0.0] for _ in FRACTIONS]}
    gates = {
        "subsets": {"plain": [0.4, 0.5], "occlusion": [0.4, 0.75], "all": [0.4, 0.6]},
        "occlusion_correlation": [None, 0.5],
    }
    return {
        "row": row,
        "encoder": ROWS[row].encoder,
        "mode": ROWS[row].mode,
        "decoder": ROWS[row].decoder,
        "seed": seed,
        "parameters": 1_500_000,
        "steps": 7,
        "subsets": figures(value),
        "joints": joints(value),
        "blanked": blanked,
        **({"gates": gates} if gated else {}),
        "last_losses": {"stage1": 3.0, "stage2": 2.0},
        "seconds": {"stage1": 40.0, "stage2": 30.0, "evaluation": 2.0},
        "environment": {
            "device": "cpu", "cpu": "Abacus", "cores": 2, "python": "3", "maed_jax": "0",
            "jax": "0", "flax": "0", "numpy": "2",
        },
    }  # fmt: skip


def joints(value):
    kinds = {"position_mm": value, "rotation_deg": 2 * value}
    return {kind: [mean + j for j in range(24)] for kind, mean in kinds.items()}


def numbered(content):
    """Replaces every float by a different number."""
    number = itertools.count(1)
    return json.loads(json.dumps(content), parse_float=lambda _: float(next(number)))


def mean_pose(value=100.0):
    return {"subsets": figures(value), "joints": joints(value)}


def settings():
    return load_config("ablation").to_dict()
