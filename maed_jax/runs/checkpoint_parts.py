"""The parts of a checkpoint, and checksums that show whether they are as saved."""

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

# The parts that make up an estimator; each exists only if the run has it.
VARIABLES = ("params", "ema", "batch_stats")


class Facts:
    """A small JSON file per process, saved by Orbax with the arrays.

    Its numbers may be arrays that are still being computed: the background thread waits for them.
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
            if not path.exists():  # saved by fewer processes; all have the same position
                path = directory / "process_0.json"
            self.content = json.loads(path.read_text())

        return read()


def arrays(state: TrainState) -> dict[str, Any]:
    """The arrays of a state by name of the checkpoint part."""
    training = {"step": state.step, "opt_state": state.opt_state, "skipped": state.skipped}
    variables = {name: tree for name in VARIABLES if (tree := getattr(state, name))}
    return variables | {"training": training}


def load(read: Callable, abstract: dict[str, Any]) -> tuple[dict[str, Any], dict]:
    """Reads parts of a checkpoint and verifies their checksums.

    Args:
      read: Orbax's `load_checkpointables` for this checkpoint.
      abstract: maps names to shapes, dtypes and shardings.

    Returns:
      The arrays by name, and the facts.

    Raises:
      ValueError: a checksum differs; damaged files may also cause any other exception.
    """
    with quietly(), interrupts_held():
        loaded = read({**abstract, "facts": Facts()})
    facts = loaded["facts"].content
    for name in abstract:
        if int(checksum(loaded[name])) != facts["sums"][name]:
            raise ValueError(f"the checksum of {name} differs")
    return {name: loaded[name] for name in abstract}, facts


def metadata(path: Path, name: str) -> Any:
    """Shapes and dtypes of one part of the checkpoint `path`; do not modify the result.

    TensorStore (at least up to 0.1.86) never frees the dicts and lists that describe an array, so
    each checkpoint is queried only once.
    """
    return _metadata(path, name, (path / name).stat().st_mtime_ns)


@functools.lru_cache
def _metadata(path: Path, name: str, changed: int) -> Any:
    with quietly(), interrupts_held():
        return ocp.metadata(path, name).metadata


@jax.jit
def checksum(tree: Any) -> jax.Array:
    """A checksum over all bits of all arrays, computed on their devices.

    Orbax does not detect flipped bits.
    """
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
    """Delays Ctrl-C until the end, but not a second one.

    Orbax would treat the exception as a damaged file and continue.
    """
    interrupted = False

    def handle(signum, frame):
        nonlocal interrupted
        if interrupted:
            signal.signal(signal.SIGINT, before)
            signal.raise_signal(signal.SIGINT)
        interrupted = True

    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield  # not ours to change
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupted:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppresses the log messages of Orbax and below; we report what matters ourselves."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
