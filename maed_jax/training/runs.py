"""Trained models, from the work directories that they were trained in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from maed_jax.body.files import Source, load_body, load_kept_body
from maed_jax.body.smpl import Body
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.models import maed
from maed_jax.training.checkpoints import Step, read_config, read_variables
from maed_jax.training.settings import check_model
from maed_jax.weights.layouts import variable_shapes


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
    _check_fit(model, variables, body, workdir)
    data = config.data
    estimator = Estimator(model, variables, body, data.augment.margin, data.eval_interval)
    return Run(estimator, step, config)


def read_model(workdir: str | Path) -> tuple[maed.MAED, ConfigDict]:
    """The network that config.json describes, without its parameters, and all that it says.

    Raises:
      UserError: there is no config.json, or it is damaged, or describes what cannot be.
    """
    config = read_config(workdir)
    if config is None:
        raise UserError(f"{workdir} holds checkpoints and no config.json, which says what they are")
    path = Path(workdir) / "config.json"
    try:
        check_model(config)
        return maed.MAED(**config.model), config
    except UserError as error:
        raise UserError(f"{path} describes no network: {error}") from None
    except TypeError as error:
        raise UserError(f"{path} is of another version's network: {error}") from None


def _check_fit(model: maed.MAED, variables: dict[str, Any], body: Body, workdir: str | Path):
    """Whether the network has the arrays of the checkpoint.

    Raises:
      UserError: it has others.
    """
    found = {path: leaf.shape for path, leaf in flatten_dict(variables).items()}
    blocks = sum(model.stage_sizes) + (0 if model.encoder == "cnn" else model.depth)
    try:
        # Each block has several arrays; to look for a billion of them would take for ever.
        wanted = variable_shapes(model, body) if blocks < len(found) else {}
    except UserError:
        raise
    except Exception:  # whatever the sizes make the layers below raise
        wanted = {}
    for path in sorted(found | wanted):
        here, there = (shapes.get(path, "absent") for shapes in (wanted, found))
        if here != there:
            raise UserError(
                f"{workdir}: config.json is of another network than its checkpoint "
                f"({'/'.join(path)} is {here} in the one and {there} in the other)"
            )


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
