"""Work directories and the checkpoints in them. The only file that knows Orbax.

workdir/config.json           the run's settings
workdir/checkpoints/<step>/   params, batch_stats (with BatchNorm only), training (optimiser, step)
                              and facts (data position, sums)
workdir/damaged/<step>/       checkpoints that could not be read, set aside
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from maed_jax.errors import UserError
from maed_jax.training.config import config_from_json, config_to_json
from maed_jax.training.state import TrainState

BEST = "pa_mpjpe"  # the checkpoint with the lowest is kept besides the latest ones

VARIABLES = ("params", "batch_stats")  # the names of a model's variables in a checkpoint

_policies = ocp.training.preservation_policies


class Checkpoints:
    """The checkpoints of one run: saved in the background, the latest `keep` and the best kept."""

    def __init__(self, workdir: str | Path, keep: int = 3):
        if keep < 1:
            raise UserError(f"config.keep must be at least 1, not {keep}")
        self.directory = Path(workdir).absolute() / "checkpoints"
        kept = [
            _policies.LatestN(keep),
            _policies.BestN(
                get_metric_fn=lambda metrics: metrics[BEST],
                reverse=True,
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        with self._faults("open"):
            self._orbax = ocp.training.Checkpointer(
                self.directory,
                preservation_policy=_policies.AnyPreservationPolicy(kept),
                cleanup_tmp_directories=True,
            )

    @property
    def steps(self) -> list[int]:
        return [checkpoint.step for checkpoint in self._orbax.checkpoints]

    def save(
        self, state: TrainState, position: Any, metrics: dict[str, float] | None = None
    ) -> None:
        """Saves under the state's step; returns as soon as `state` may be changed again.

        Args:
          position: the state of the data iterator after this step's batch, for `json`.
          metrics: of a validation at this step; `BEST` among them competes for the best.

        Raises:
          UserError: this save or the one before failed; what was saved earlier is untouched.
        """
        step = int(state.step)
        if step in self.steps:
            return
        arrays = _arrays(state)
        sums = {name: _checksum(tree) for name, tree in arrays.items()}
        content = arrays | {"facts": _Facts({"position": position, "sums": sums})}
        ranked = metrics if metrics and BEST in metrics else None
        with self._faults(f"save step {step}"):
            self._check_room(content)
            self._orbax.save_checkpointables_async(step, content, force=True, metrics=ranked)

    def _check_room(self, content: Any) -> None:
        """Raises OSError where `content` cannot be written; Orbax would first wait for minutes."""
        if jax.process_index() == 0:
            probe = self.directory / ".probe"
            probe.write_bytes(b"1")
            probe.unlink()
            needed = sum(
                leaf.nbytes for leaf in jax.tree.leaves(content) if hasattr(leaf, "nbytes")
            )
            free = shutil.disk_usage(self.directory).free
            if free < needed:
                raise OSError(f"it needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free")

    def restore(self, abstract: TrainState) -> tuple[TrainState, Any] | None:
        """The latest readable state and data position, or None where nothing was saved.

        Unreadable checkpoints are set aside, and it says so.

        Args:
          abstract: shapes, dtypes and shardings of the state.

        Raises:
          UserError: there are checkpoints, and none can be read.
        """
        damaged = {}
        for step in reversed(self.steps):
            try:
                load = functools.partial(self._orbax.load_checkpointables, step)
                loaded, facts = _load(load, _arrays(abstract))
            except Exception as error:  # whatever the damage makes the layers below raise
                damaged[step] = _brief(error)
                continue
            for bad, why in damaged.items():
                self._set_aside(bad, why)
            return TrainState(**loaded.pop("training"), **loaded), facts["position"]
        if damaged:
            raise UserError(
                f"none of the checkpoints {sorted(damaged)} in {self.directory} can be read "
                f"({damaged[max(damaged)]}); start again in another work directory"
            )
        return None

    def _set_aside(self, step: int, why: str) -> None:
        aside = self.directory.parent / "damaged"
        target = aside / str(step)
        for attempt in itertools.count(1):
            if not target.exists():
                break
            target = aside / f"{step}.{attempt}"
        _say(f"checkpoint {step} is damaged ({why}); it is set aside in {aside}")
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            (self.directory / str(step)).rename(target)
        multihost_utils.sync_global_devices(f"set_aside_{step}")
        with _quietly():
            self._orbax.reload()

    def close(self) -> None:
        """Waits for the last save.

        Raises:
          UserError: it failed.
        """
        with self._faults("save the last step"):
            self._orbax.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            self.close()
        else:  # the first error is the one to hear about
            with contextlib.suppress(Exception):
                self._orbax.close()

    @contextlib.contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            with _quietly():
                yield
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"could not {what} in {self.directory}: {_brief(error)}") from None


def read_config(workdir: str | Path) -> ConfigDict | None:
    """The settings of the run in `workdir`, or None where there is none.

    Raises:
      UserError: the file is damaged.
    """
    path = Path(workdir) / "config.json"
    try:
        return config_from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {_brief(error)}") from None


def write_config(workdir: str | Path, config: ConfigDict) -> None:
    path = Path(workdir) / "config.json"
    part = path.with_suffix(".part")
    part.write_text(config_to_json(config), encoding="utf-8")
    part.replace(path)


def read_variables(workdir: str | Path, step: int | None = None) -> tuple[dict[str, Any], int]:
    """A model's variables as they were saved, on this process's first device, and their step.

    Args:
      step: which checkpoint; None: the latest that can be read.

    Returns:
      {"params": ...}, and "batch_stats" with BatchNorm; and the step.

    Raises:
      UserError: there is none, or not that one, or it is damaged.
    """
    directory = Path(workdir).absolute() / "checkpoints"
    if not Path(workdir).is_dir():
        raise UserError(f"there is no work directory {workdir}: train one with `maed train`")
    steps = sorted(int(p.name) for p in directory.glob("*") if p.name.isdigit() and p.is_dir())
    if not steps:
        raise UserError(f"{workdir} holds no checkpoint: train with --workdir {workdir} first")
    if step is not None and step not in steps:
        raise UserError(f"{workdir} holds no checkpoint of step {step}, only of {steps}")
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    for candidate in [step] if step is not None else reversed(steps):
        path = directory / str(candidate)
        try:
            names = [name for name in VARIABLES if (path / name).is_dir()]
            with _quietly():
                saved = {name: ocp.metadata(path, name).metadata for name in names}
            abstract = jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=one), saved
            )
            variables, facts = _load(functools.partial(ocp.load_checkpointables, path), abstract)
            if missing := facts["sums"].keys() & set(VARIABLES) - variables.keys():
                raise ValueError(f"{missing.pop()} is not there")
            return variables, candidate
        except Exception as error:  # whatever the damage makes the layers below raise
            _say(f"checkpoint {candidate} in {workdir} is damaged ({_brief(error)})")
    raise UserError(f"no checkpoint in {workdir} can be read")


class Run(NamedTuple):
    """A trained model and where it comes from."""

    estimator: Any
    step: int
    config: ConfigDict


def open_run(workdir: str | Path, step: int | None = None, *, body: Any = None) -> Run:
    """The model that was trained in `workdir`; arguments and errors as `restore_estimator`."""
    from maed_jax.body.files import load_body
    from maed_jax.estimator import Estimator
    from maed_jax.models.maed import MAED

    variables, step = read_variables(workdir, step)
    config = read_config(workdir)
    if config is None:
        raise UserError(f"{workdir} holds checkpoints and no config.json, which says what they are")
    estimator = Estimator(MAED(**config.model), variables, load_body(body or config.body))
    return Run(estimator, step, config)


def restore_estimator(workdir: str | Path, step: int | None = None, *, body: Any = None):
    """The estimator that was trained in `workdir`.

    Args:
      step: which checkpoint; None: the latest that can be read.
      body: another body (see `maed_jax.load_body`) in place of the one that it was trained with.

    Raises:
      UserError: the directory holds no such checkpoint, or its body is not at hand.
    """
    return open_run(workdir, step, body=body).estimator


class _Facts:
    """A small JSON file a process, saved by Orbax with the arrays."""

    def __init__(self, content: Any = None):
        self.content = content

    async def save(self, directory):
        text = json.dumps(self.content)

        async def write():
            path = await directory.await_creation()
            (path / f"process_{jax.process_index()}.json").write_text(text)

        return write()

    async def load(self, directory):
        async def read():
            path = directory / f"process_{jax.process_index()}.json"
            if not path.exists():  # saved by fewer processes: the positions of all are alike
                path = directory / "process_0.json"
            self.content = json.loads(path.read_text())

        return read()


def _arrays(state: TrainState) -> dict[str, Any]:
    """The arrays of a state, by the names of the parts of a checkpoint."""
    training = {"step": state.step, "opt_state": state.opt_state, "skipped": state.skipped}
    return state.variables | {"training": training}


def _load(load: Callable, wanted: dict[str, Any]) -> tuple[dict[str, Any], dict]:
    """Loads parts of one checkpoint with Orbax's `load_checkpointables` of it, checks their sums.

    Args:
      wanted: name -> shapes, dtypes and shardings.

    Returns:
      The same with arrays, and the facts.

    Raises:
      ValueError: the sums disagree; and anything else that damaged files cause.
    """
    with _quietly():
        loaded = load({**wanted, "facts": _Facts()})
    facts = loaded["facts"].content
    for name in wanted:
        if _checksum(loaded[name]) != facts["sums"][name]:
            raise ValueError(f"{name} is not as it was saved")
    return {name: loaded[name] for name in wanted}, facts


def _checksum(tree: Any) -> int:
    """A sum over all bits of all arrays, made where they lie: Orbax notices no flipped bits."""
    return int(_sum_bits(tree))


@jax.jit
def _sum_bits(tree: Any) -> jax.Array:
    total = jnp.zeros((), jnp.uint32)
    for leaf in jax.tree.leaves(tree):
        word = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
        bits = jax.lax.bitcast_convert_type(leaf, word).astype(jnp.uint32)
        total = total * 31 + bits.sum(dtype=jnp.uint32)
    return total


def _brief(error: BaseException) -> str:
    """What happened, short enough for a line."""
    lines = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return f"{text[:150]}..." if len(text) > 150 else text


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(f"maed: {text}", file=sys.stderr)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the log lines of the layers below; what matters we say ourselves."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
