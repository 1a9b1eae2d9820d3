"""Trained models, from the work directories that they were trained in."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from maed_jax.body.files import Source, load_body, load_kept_body
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.models import maed
from maed_jax.training.checkpoints import Step, read_config, read_variables


class Run(NamedTuple):
    """A trained model and where it comes from."""

    estimator: Estimator
    step: int
    config: ConfigDict


def open_run(workdir: str | Path, step: Step = None, *, body: Source | None = None) -> Run:
    """The model that was trained in `workdir`; arguments and errors as `restore_estimator`."""
    variables, step = read_variables(workdir, step)
    model, config = read_model(workdir)
    kept = f"the body of {workdir} (--body gives another)"
    body = load_kept_body(config.body, kept) if body is None else load_body(body)
    data = config.data
    estimator = Estimator(model, variables, body, data.augment.margin, data.eval_interval)
    return Run(estimator, step, config)


def read_model(workdir: str | Path) -> tuple[maed.MAED, ConfigDict]:
    """The network that config.json describes, without its parameters, and all that it says.

    Raises:
      UserError: there is no config.json, or it is damaged.
    """
    config = read_config(workdir)
    if config is None:
        raise UserError(f"{workdir} holds checkpoints and no config.json, which says what they are")
    try:
        return maed.MAED(**config.model), config
    except TypeError as error:
        raise UserError(
            f"{Path(workdir) / 'config.json'} is of another version's network: {error}"
        ) from None


def restore_estimator(
    workdir: str | Path, step: Step = None, *, body: Source | None = None
) -> Estimator:
    """The estimator that was trained in `workdir`.

    Args:
      step: which checkpoint; "best": that of the best validation; None: the latest that can be
        read.
      body: another body (see `maed_jax.load_body`) in place of the one that it was trained with.

    Raises:
      UserError: the directory holds no such checkpoint, or its body is not at hand.
    """
    return open_run(workdir, step, body=body).estimator
