"""Work directories and their checkpoints. Only this file and `checkpoint_parts` use Orbax.

workdir/config.json           the run's settings
workdir/checkpoints/<step>/   params, ema (only with `config.ema`), batch_stats (only with
                              BatchNorm), training (optimiser, step), facts (data position,
                              checksums) and metrics (of its validation, if any)
workdir/damaged/<step>/       checkpoints that could not be read, set aside
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from maed_jax.errors import UserError, reason
from maed_jax.files.atomic import atomic_write
from maed_jax.files.json import read_json
from maed_jax.runs.checkpoint_parts import (
    VARIABLES,
    Facts,
    arrays,
    checksum,
    interrupts_held,
    load,
    metadata,
    quietly,
    say,
)
from maed_jax.runs.config import config_from_json, config_to_json
from maed_jax.runs.state import TrainState

BEST = "pa_mpjpe"  # the checkpoint with the lowest value is kept in addition to the latest ones
Step = int | Literal["best"] | None

_policies = ocp.training.preservation_policies


class Checkpoints:
    """A run's checkpoints: saves them in the background, keeps the latest `keep` and the best."""

    def __init__(self, workdir: str | Path, keep: int = 3):
        self.directory = Path(workdir).absolute() / "checkpoints"
        policies = [
            _policies.LatestN(keep),
            _policies.BestN(
                get_metric_fn=lambda metrics: metrics[BEST],
                reverse=True,
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        self._saving = None
        with self._user_errors("open"):
            validation_scores(workdir)  # Orbax's error would not say which one is damaged
            self._orbax = ocp.training.Checkpointer(
                self.directory,
                preservation_policy=_policies.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,
            )

    @property
    def steps(self) -> list[int]:
        return [checkpoint.step for checkpoint in self._orbax.checkpoints]

    def is_best(self, metrics: dict[str, float]) -> bool:
        """Whether `metrics` of a validation are better than those of all checkpoints.

        All processes get the first one's result, so that all or none save a checkpoint.
        """
        saved = [c.metrics[BEST] for c in self._orbax.checkpoints if c.metrics]
        better = metrics[BEST] < min(saved, default=math.inf)
        return bool(multihost_utils.broadcast_one_to_all(np.bool_(better)))

    def save(
        self, state: TrainState, position: Any, metrics: dict[str, float] | None = None
    ) -> None:
        """Saves a state under its step; returns as soon as the buffers of `state` may be reused.

        Args:
          position: state of the data iterator after this step's batch, serialisable as JSON.
          metrics: from a validation at this step; `BEST` in them decides which checkpoint is best.

        Raises:
          UserError: this save or the previous one failed; earlier checkpoints are intact.
        """
        step = int(state.step)
        if step in self.steps:
            return
        content = arrays(state)
        sums = {name: checksum(tree) for name, tree in content.items()}  # asynchronous
        content["facts"] = Facts({"position": position, "sums": sums})
        scores = metrics if metrics and BEST in metrics else None
        with self._user_errors(f"save step {step}"):
            self._check_disk_space(content)
            self._wait()
            with interrupts_held():  # returns soon; Orbax would leave half-begun work behind
                self._saving = self._orbax.save_checkpointables_async(
                    step, content, force=True, metrics=scores
                )

    def _wait(self) -> None:
        """Waits for the last save; its thread ends only once the result has been requested."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def _check_disk_space(self, content: Any) -> None:
        """Raises: OSError: `content` cannot be written; Orbax would only fail after minutes."""
        if jax.process_index() == 0:
            probe = self.directory / ".probe"
            probe.write_bytes(b"1")
            probe.unlink()
            needed = sum(
                leaf.nbytes for leaf in jax.tree.leaves(content) if hasattr(leaf, "nbytes")
            )
            free = shutil.disk_usage(self.directory).free
            if free < needed:
                raise OSError(f"it needs {needed / 1e6:.0f} MB but {free / 1e6:.0f} MB are free")

    def restore(self, abstract: TrainState) -> tuple[TrainState, Any] | None:
        """The latest readable state and data position, or None if nothing was saved.

        Sets unreadable checkpoints aside and reports them.

        Args:
          abstract: shapes, dtypes and shardings of the state.

        Raises:
          UserError: there are checkpoints, but none can be read.
        """
        damaged = {}
        for step in reversed(self.steps):
            loaded, why = None, "another process cannot read its part"
            try:
                read = functools.partial(self._orbax.load_checkpointables, step)
                loaded, facts = load(read, arrays(abstract))
            except Exception as error:  # damaged files can cause any exception
                why = reason(error)
            if not multihost_utils.process_allgather(loaded is not None).all():
                damaged[step] = why  # in all processes, or they would resume from different steps
                continue
            for damaged_step, why in damaged.items():
                self._set_aside(damaged_step, why)
            return TrainState(**loaded.pop("training"), **loaded), facts["position"]
        if damaged:
            raise UserError(
                f"none of the checkpoints {sorted(damaged)} in {self.directory} can be read "
                f"({damaged[max(damaged)]}); start over in another work directory"
            )
        return None

    def _set_aside(self, step: int, why: str) -> None:
        aside = self.directory.parent / "damaged"
        target = aside / str(step)
        for attempt in itertools.count(1):
            if not target.exists():
                break
            target = aside / f"{step}.{attempt}"
        say(f"checkpoint {step} is damaged ({why}); it was set aside in {aside}")
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            (self.directory / str(step)).rename(target)
        multihost_utils.sync_global_devices(f"set_aside_{step}")
        with quietly():
            self._orbax.reload()

    def close(self) -> None:
        """Waits for the last save.

        Raises:
          UserError: it failed.
        """
        with self._user_errors("save the last step"):
            try:
                self._wait()
            finally:
                self._orbax.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            self.close()
        else:  # report only the first error
            with contextlib.suppress(Exception):
                self.close()

    @contextlib.contextmanager
    def _user_errors(self, what: str) -> Iterator[None]:
        try:
            with quietly():
                yield
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"could not {what} in {self.directory}: {reason(error)}") from None


def read_config(workdir: str | Path) -> ConfigDict | None:
    """The settings of the run in `workdir`, or None if there is no config.json.

    Raises:
      UserError: the file is damaged.
    """
    path = Path(workdir) / "config.json"
    try:
        return config_from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None


def write_config(workdir: str | Path, config: ConfigDict) -> None:
    """Raises: UserError: it cannot be written."""
    path = Path(workdir) / "config.json"
    with atomic_write(path, "w") as file:
        file.write(config_to_json(config))


def saved_steps(workdir: str | Path) -> list[int]:
    """The steps of all checkpoints in `workdir`, including damaged ones."""
    found = (Path(workdir) / "checkpoints").glob("*")
    return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())


def validation_scores(workdir: str | Path) -> dict[int, float]:
    """The value of `BEST` by step, for the checkpoints in `workdir` with a validation.

    Raises:
      UserError: a file with such a value is damaged.
    """
    scores = {}
    for step in saved_steps(workdir):
        part = Path(workdir) / "checkpoints" / str(step) / "metrics"
        try:
            scores[step] = float(read_json(part / "metrics", {BEST: object})[BEST])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{part} is damaged ({reason(error)}): delete it; checkpoint {step} then counts as "
                "not validated"
            ) from None
    return scores


def best_step(workdir: str | Path) -> int:
    """The step of the checkpoint in `workdir` with the lowest `BEST` in its validation.

    Raises:
      UserError: none was validated, or a validation's file is damaged.
    """
    scores = validation_scores(workdir)
    finite = [step for step, score in scores.items() if math.isfinite(score)]
    if not finite:
        raise UserError(
            f"no checkpoint in {workdir} was validated, so there is no best one: omit --step to "
            "use the latest"
        )
    return min(finite, key=scores.get)


def read_variables(workdir: str | Path, step: Step = None) -> tuple[dict[str, Any], int]:
    """Reads a model's variables from a checkpoint.

    They are on this process's first device but uncommitted: if committed, programs that use them
    with other arrays would be compiled again at their second step.

    If the run has a moving average of its parameters, "params" contains that.

    Args:
      step: number of the checkpoint; "best": see `best_step`; None: the latest that can be read.

    Returns:
      {"params": ...}, with "batch_stats" if the model has BatchNorm; and the step.

    Raises:
      UserError: there is no checkpoint, or no such one, or it is damaged.
    """
    directory = Path(workdir).absolute() / "checkpoints"
    steps = saved_steps(workdir)
    if not steps:
        raise UserError(_no_checkpoint(workdir))
    if step == "best":
        step = best_step(workdir)
    if step is not None and step not in steps:
        found = ", ".join(map(str, steps))
        raise UserError(f"{workdir} has no checkpoint of step {step}, only of {found}")
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    for candidate in [step] if step is not None else reversed(steps):
        path = directory / str(candidate)
        try:
            names = [name for name in VARIABLES if (path / name).is_dir()]
            used = [name for name in names if name != "params" or "ema" not in names]
            saved = {name: metadata(path, name) for name in used}
            abstract = jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), saved
            )
            variables, facts = load(functools.partial(ocp.load_checkpointables, path), abstract)
            if missing := facts["sums"].keys() & set(VARIABLES) - set(names):
                raise ValueError(f"{missing.pop()} is missing")
            if "ema" in variables:
                variables["params"] = variables.pop("ema")
            return jax.device_put(jax.tree.map(np.asarray, variables)), candidate
        except Exception as error:  # damaged files can cause any exception
            say(f"checkpoint {candidate} in {workdir} is damaged ({reason(error)})")
    if step is None:
        raise UserError(f"no checkpoint in {workdir} can be read")
    others = ", ".join(str(other) for other in steps if other != step)
    instead = f"choose another step: {others}" if others else "it is the only one"
    raise UserError(f"checkpoint {step} in {workdir} cannot be read; {instead}")


def _no_checkpoint(workdir: str | Path) -> str:
    """The error message for a path without checkpoints, depending on what it is instead."""
    path = Path(workdir).absolute()
    for place in (path, *path.parents):
        if place.name == "checkpoints" and saved_steps(place.parent):
            step = path.relative_to(place).parts[:1]
            which = f", and step {step[0]}" if step and step[0].isdecimal() else ""
            return f"{workdir} is inside a work directory: give {place.parent}{which}"
    if path.is_file():
        return (
            f"{workdir} is a file, not a work directory: convert weights first with "
            f"`maed convert {workdir} --out DIR`"
        )
    if not path.is_dir():
        return f"there is no work directory {workdir}: train one with `maed train`"
    runs = [p.parent for p in sorted(Path(workdir).glob("*/checkpoints")) if saved_steps(p.parent)]
    if runs:
        names = " or ".join(map(str, runs))
        return f"{workdir} has no checkpoint but contains work directories: give {names}"
    return f"{workdir} has no checkpoint: train with `maed train --workdir {workdir}` first"
