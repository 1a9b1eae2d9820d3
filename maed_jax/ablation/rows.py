"""The rows of the paper's Table 2 as data, and the settings to train them."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from maed_jax.arguments import SEEDS
from maed_jax.errors import UserError
from maed_jax.runs.config import flatten, load_config


@dataclasses.dataclass(frozen=True)
class Row:
    """One network of the study, as arguments of `MAED`."""

    encoder: str
    decoder: str
    mode: str = "parallel"


ROWS: dict[str, Row] = {
    "cnn-iterative": Row("cnn", "iterative"),
    "cnn-ktd": Row("cnn", "ktd"),
    "ste-iterative": Row("ste", "iterative"),
    "ste-ktd": Row("ste", "ktd"),
    "te-iterative": Row("te", "iterative"),
    "temporal-iterative": Row("ste", "iterative", "temporal"),
    "se-iterative": Row("ste", "iterative", "vanilla"),
    "series-iterative": Row("ste", "iterative", "series"),
    "parallel_v1-iterative": Row("ste", "iterative", "parallel_v1"),
    "coupling-iterative": Row("ste", "iterative", "coupling"),
    "ste-vanilla": Row("ste", "vanilla"),
    "ste-ktd_random": Row("ste", "ktd_random"),
    "ste-ktd_reverse": Row("ste", "ktd_reverse"),
}


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the table: labels as printed, the row it shows, and the paper's figures."""

    encoder: str
    decoder: str
    row: str
    pa_mpjpe: float | None = None
    """mm on 3DPW, as in the paper; None for lines that it does not have"""
    mpjpe: float | None = None


# The decoder of the middle part is Iterative: its first and its last but one line repeat figures of
# the upper part. CNN+TE: the paper pools space once, before time; the released code in every block.
TABLE: tuple[tuple[Line, ...], ...] = (
    (
        Line("CNN", "Iterative", "cnn-iterative", 52.2, 87.5),
        Line("CNN", "KTD", "cnn-ktd", 50.9, 88.0),
        Line("CNN+STE", "Iterative", "ste-iterative", 47.5, 80.2),
        Line("CNN+STE", "KTD", "ste-ktd", 45.7, 79.1),
    ),
    (
        Line("CNN", "Iterative", "cnn-iterative", 52.2, 87.5),
        Line("CNN+TE", "Iterative", "te-iterative", 51.1, 84.5),
        Line("CNN+TE, as released", "Iterative", "temporal-iterative"),
        Line("CNN+SE", "Iterative", "se-iterative", 49.8, 84.5),
        Line("CNN+STE series", "Iterative", "series-iterative", 48.5, 83.6),
        Line("CNN+STE parallel V1", "Iterative", "parallel_v1-iterative", 48.1, 81.6),
        Line("CNN+STE parallel V2", "Iterative", "ste-iterative", 47.5, 80.2),
        Line("CNN+STE coupling", "Iterative", "coupling-iterative", 49.3, 82.6),
    ),
    (
        Line("CNN+STE", "Iterative", "ste-iterative", 47.5, 80.2),
        Line("CNN+STE", "Decoder vanilla", "ste-vanilla", 47.7, 80.7),
        Line("CNN+STE", "KTD", "ste-ktd", 45.7, 79.1),
        Line("CNN+STE", "KTD random", "ste-ktd_random", 47.7, 82.5),
        Line("CNN+STE", "KTD reverse", "ste-ktd_reverse", 47.6, 79.7),
    ),
)
LINE_OF = {line.row: line for part in reversed(TABLE) for line in reversed(part)}
"""row -> its first line"""

STAGES = ("stage1", "stage2")
# Settings that the study itself sets for every run.
_SET_BY_STUDY = (
    "seed",
    "init_from",
    *(f"model.{k}" for k in ("encoder", "mode", "decoder", "tree_seed")),
)


def choose_rows(names: str | None) -> list[str]:
    """Parses comma-separated row names; all rows by default.

    Raises:
      UserError: there is no such row.
    """
    chosen = list(ROWS) if names is None else [n.strip() for n in names.split(",") if n.strip()]
    for name in chosen:
        if name not in ROWS:
            raise UserError(f"there is no row {name!r}; choose from {', '.join(ROWS)}")
    if not chosen:
        raise UserError(f"--rows is empty; choose from {', '.join(ROWS)}")
    return list(dict.fromkeys(chosen))


def choose_seeds(numbers: str | None, config: ConfigDict) -> list[int]:
    """Parses comma-separated seeds; all of the study's by default.

    Raises:
      UserError: they are not numbers or not among the study's seeds, or the study's are invalid.
    """
    available = list(config.study.seeds)
    if not all(type(seed) is int and 0 <= seed < SEEDS for seed in available):
        raise UserError(
            f"config.study.seeds must be whole numbers from 0 to 2^32 - 1, not {tuple(available)}"
        )
    try:
        chosen = available if numbers is None else [int(n) for n in numbers.split(",")]
    except ValueError:
        raise UserError(f"--seeds takes whole numbers such as 0,1, not {numbers!r}") from None
    for seed in chosen:
        if seed not in available:
            raise UserError(
                f"the study has the seeds {', '.join(map(str, available))}, not {seed}; "
                "change them with config.study.seeds"
            )
    return list(dict.fromkeys(chosen))


def load_study(spec: str, overrides: list[str]) -> ConfigDict:
    """Loads the configuration of a study, see `configs/ablation.py`.

    Raises:
      UserError: it is not a study's, or an override would itself be overridden by the study.
    """
    config, defaults = load_config(spec, overrides), dict(flatten(load_config(spec)))
    if "study" not in config:
        raise UserError(f"the configuration {spec} trains one model; try --config ablation")
    for key, value in flatten(config):
        if value == defaults[key]:
            continue
        if all(f"study.{stage}.{key}" in defaults for stage in STAGES):
            raise UserError(
                f"each stage has its own {key}: "
                f"set config.study.stage1.{key} and config.study.stage2.{key}"
            )
        if key in _SET_BY_STUDY:
            raise UserError(f"config.{key} is set by the rows and seeds of the study; leave it out")
    return config


def stage_config(
    config: ConfigDict, row: Row, seed: int, stage: str, init_from: str = ""
) -> ConfigDict:
    """Returns the settings of one training run: the study's with those of its stage and row.

    Random trees differ between seeds.
    """
    c = ConfigDict(config.copy_and_resolve_references().to_dict()).unlock()
    study = c.study
    del c.study
    c.update(study[stage].to_dict())
    if row.encoder == "cnn":
        c.model.update(study.cnn.to_dict())
    c.model.encoder, c.model.mode, c.model.decoder = row.encoder, row.mode, row.decoder
    if row.decoder == "ktd_random":
        c.model.tree_seed = seed
    c.seed, c.init_from = seed, init_from
    return c.lock()
