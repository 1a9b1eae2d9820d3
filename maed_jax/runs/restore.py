"""Loads trained models from work directories, and saves them as such."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optax
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from maed_jax.body.files import Source, load_body, load_kept_body
from maed_jax.body.smpl import Body
from maed_jax.errors import UserError, reason
from maed_jax.estimator import Estimator
from maed_jax.files import locks
from maed_jax.models import maed
from maed_jax.models.maed import variable_shapes
from maed_jax.runs.checkpoints import (
    Checkpoints,
    Step,
    read_config,
    read_variables,
    write_config,
)
from maed_jax.runs.config import absolute_body, defaults
from maed_jax.runs.settings import check_model
from maed_jax.runs.state import create_state


class Run(NamedTuple):
    """A trained model, its step and its configuration."""

    estimator: Estimator
    step: int
    config: ConfigDict


def open_run(workdir: str | Path, step: Step = None, *, body: Source | None = None) -> Run:
    """Loads the model trained in `workdir`; arguments and errors as in `restore_estimator`."""
    variables, step = read_variables(workdir, step)
    model, config = read_model(workdir)
    kept = f"the body of {workdir} (--body gives another)"
    body = load_kept_body(config.body, kept) if body is None else load_body(body)
    prefix = f"{workdir}: config.json does not fit the checkpoint"
    _check_fit(model, variables, body, prefix)
    data = config.data
    estimator = Estimator(model, variables, body, data.augment.margin, data.eval_interval)
    return Run(estimator, step, config)


def read_model(workdir: str | Path) -> tuple[maed.MAED, ConfigDict]:
    """The network described by config.json, without parameters, and the whole configuration.

    Raises:
      UserError: config.json is missing, damaged or invalid.
    """
    config = read_config(workdir)
    if config is None:
        raise UserError(f"{workdir} has checkpoints but no config.json, which describes them")
    path = Path(workdir) / "config.json"
    try:
        check_model(config)
        return maed.MAED(**config.model), config
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except TypeError as error:
        raise UserError(f"{path} is from another version: {error}") from None


def _check_fit(model: maed.MAED, variables: dict[str, Any], body: Body, prefix: str) -> None:
    """Checks that the model has these variables.

    Raises:
      UserError: it has others; the message begins with `prefix`.
    """
    found = {path: leaf.shape for path, leaf in flatten_dict(variables).items()}
    blocks = sum(model.stage_sizes) + (0 if model.encoder == "cnn" else model.depth)
    try:
        # Each block has several arrays; a billion blocks would take for ever.
        expected = variable_shapes(model, body) if blocks < len(found) else {}
    except UserError:
        raise
    except Exception:  # unsuitable sizes can cause any exception
        expected = {}
    for path in sorted(found | expected):
        in_model, in_variables = (shapes.get(path, "absent") for shapes in (expected, found))
        if in_model != in_variables:
            raise UserError(
                f"{prefix} ({'/'.join(path)} is {in_model} in the model but "
                f"{in_variables} in the variables)"
            )


def restore_estimator(
    workdir: str | Path, step: Step = None, *, body: Source | None = None
) -> Estimator:
    """Loads the model trained in `workdir` as an estimator.

    Args:
      step: number of the checkpoint; "best": the one with the best validation; None: the latest
        that can be read.
      body: a body (see `maed_jax.load_body`) to use instead of the one it was trained with.

    Raises:
      UserError: there is no such checkpoint, or the body is missing.
    """
    return open_run(workdir, step, body=body).estimator


def save_estimator(
    workdir: str | Path, estimator: Estimator, *, body: str | Path = "mannequin"
) -> None:
    """Saves an estimator as a work directory, for `restore_estimator` and all verbs.

    Args:
      workdir: the directory to create; it must not exist or be empty.
      body: the path of the estimator's body, unless that is the mannequin. Only the path is saved.

    Raises:
      UserError: the directory is in use or cannot be written, the variables do not fit the model,
        or `body` is of another kind than the estimator's body.
    """
    check_empty(workdir)
    if (estimator.body.name == "mannequin") != (body == "mannequin"):
        raise UserError(
            f"the estimator's body is of the kind {estimator.body.name!r}, not {str(body)!r}: "
            "give its path as body=PATH, or omit body for the mannequin"
        )
    prefix = "the estimator's variables do not fit its model"
    _check_fit(estimator.model, estimator.variables, estimator.body, prefix)
    config = defaults()
    config.body = absolute_body(str(body))
    config.data.augment.margin, config.data.eval_interval = estimator.margin, estimator.interval
    write_run(workdir, estimator.model, estimator.variables, config)


def check_empty(workdir: str | Path) -> None:
    """Raises: UserError: something would be overwritten."""
    path = Path(workdir)
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"{workdir} is not empty; give a directory that does not exist yet")
    if path.exists() and not path.is_dir():
        raise UserError(f"{workdir} is a file; give a directory that does not exist yet")


def write_run(
    workdir: str | Path,
    model: maed.MAED,
    variables: Mapping[str, Any],
    config: ConfigDict,
    extra_files: Mapping[str, str] | None = None,
) -> None:
    """Writes a work directory like that of a training run; it appears only once it is complete.

    Args:
      config: settings; `config.model` and `config.steps` are set here.
      extra_files: additional text files by name.

    Raises:
      UserError: it cannot be written.
    """
    workdir = Path(workdir)
    config.steps = 0  # invalid for training, so no run resumes here, without optimiser state
    sizes = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    config.model.update({key: sizes[key] for key in sizes if key not in ("parent", "name")})
    # Next to its final place, so that the rename is atomic; may hold leftovers of a killed process.
    temporary = workdir.absolute().with_name(f".saving-{workdir.name}")
    try:
        with locks.only_run_in(temporary, "directory"):
            try:
                _clear(temporary)
                state = create_state(variables, optax.identity())
                with Checkpoints(temporary) as checkpoints:
                    checkpoints.save(state, position=None)
                for name, text in (extra_files or {}).items():
                    (temporary / name).write_text(text, encoding="utf-8")
                write_config(temporary, config)
                temporary.rename(workdir)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {reason(error)}") from None


def _clear(workdir: Path) -> None:
    for path in workdir.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != locks.NAME:
            path.unlink()
