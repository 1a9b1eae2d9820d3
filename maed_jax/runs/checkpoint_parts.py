"""What lies in one checkpoint: its parts, and the sums that tell whether they are as saved."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from orbax.checkpoint import v1 as ocp

from maed_jax.runs.state import TrainState

# The parts that an estimator is made of; each is there only where a run has it.
VARIABLES = ("params", "ema", "batch_stats")


class Facts:
    """A small JSON file a process, saved by Orbax with the arrays.

    Numbers in it may be arrays that are still being computed: the background waits for them.
    """

    def __init__(self, content: Any = None):
        self.content = content

    async def save(self, directory):
        async def write():
            path = await directory.await_creation()
            text = json.dumps(self.content, default=int)
            (path / f"process_{jax.process_index()}.json").write_text(text)

        return write()

    async def load(self, directory):
        async def read():
            path = directory / f"process_{jax.process_index()}.json"
            if not path.exists():  # saved by fewer processes: the positions of all are alike
                path = directory / "process_0.json"
            self.content = json.loads(path.read_text())

        return read()


def arrays(state: TrainState) -> dict[str, Any]:
    """The arrays of a state, by the names of the parts of a checkpoint."""
    training = {"step": state.step, "opt_state": state.opt_state, "skipped": state.skipped}
    variables = {name: tree for name in VARIABLES if (tree := getattr(state, name))}
    return variables | {"training": training}


def load(read: Callable, wanted: dict[str, Any]) -> tuple[dict[str, Any], dict]:
    """Reads parts of one checkpoint and checks their sums.

    Args:
      read: Orbax's `load_checkpointables` of that checkpoint.
      wanted: name -> shapes, dtypes and shardings.

    Returns:
      The same with arrays, and the facts.

    Raises:
      ValueError: the sums disagree; and anything else that damaged files cause.
    """
    with quietly(), interrupts_held():
        loaded = read({**wanted, "facts": Facts()})
    facts = loaded["facts"].content
    for name in wanted:
        if int(sum_bits(loaded[name])) != facts["sums"][name]:
            raise ValueError(f"{name} is not as it was saved")
    return {name: loaded[name] for name in wanted}, facts


def metadata(path: Path, name: str) -> Any:
    """Shapes and dtypes of one part of the checkpoint `path`; do not change what is returned.

    TensorStore (up to 0.1.86 at least) keeps for ever the dicts and lists in which it describes an
    array, so each checkpoint is asked once.
    """
    return _metadata(path, name, (path / name).stat().st_mtime_ns)


@functools.lru_cache
def _metadata(path: Path, name: str, changed: int) -> Any:
    with quietly(), interrupts_held():
        return ocp.metadata(path, name).metadata


@jax.jit
def sum_bits(tree: Any) -> jax.Array:
    """A sum over all bits of all arrays, made where they lie: Orbax notices no flipped bits."""
    total = jnp.zeros((), jnp.uint32)
    for leaf in jax.tree.leaves(tree):
        word = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
        bits = jax.lax.bitcast_convert_type(leaf, word).astype(jnp.uint32)
        total = total * 31 + bits.sum(dtype=jnp.uint32)
    return total


def say(text: str) -> None:
    if jax.process_index() == 0:
        print(f"maed: {text}", file=sys.stderr)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C acts at the end, and twice at once: Orbax takes it for a damaged file and goes on."""
    held: list = []

    def hold(number, frame):
        if held:
            signal.signal(signal.SIGINT, before)
            signal.raise_signal(signal.SIGINT)
        held.append(True)

    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield  # not ours to change
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the log lines of the layers below; what matters we say ourselves."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
