"""Runs many tasks in several processes and returns results in the order of the tasks."""

from __future__ import annotations

import collections
import concurrent.futures.process
import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from maed_jax.errors import UserError
from maed_jax.machine import available_cores

T = TypeVar("T")
R = TypeVar("R")


@contextlib.contextmanager
def spared_from(*signals: signal.Signals) -> Iterator[None]:
    """Processes started in this block, by this thread, never receive `signals`.

    Terminals send SIGINT to all processes of a command, and schedulers SIGTERM; here, the first
    process stops the others.
    """
    multiprocessing.resource_tracker.ensure_running()  # starting it later would unblock both
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Ends this process when its parent ends, however that happens: it would wait forever."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start_worker() -> None:
    end_with_parent()
    # Each worker uses one core; an accelerator is not for a dozen processes.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["LP_NUM_THREADS"] = "1"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = flags + " --xla_cpu_multi_thread_eigen=false"
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_platforms", "cpu")
    import cv2

    cv2.setNumThreads(1)


def in_order(
    function: Callable[[T], R], tasks: Iterable[T], processes: int | None = None
) -> Iterator[R]:
    """Yields `function(task)` for each task, in order, computed in fresh processes.

    Args:
      function: must be importable by name, from the package or `maed_jax.datasets`.
      processes: default: one per core that this process may use.

    Raises:
      Whatever `function` raises; the other processes are then stopped at once.
      UserError: a process died, most likely because memory ran out.
    """
    processes = processes or available_cores()
    before = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _start_worker
    )
    pending: collections.deque = collections.deque()
    finished = False
    try:
        for task in tasks:
            with spared_from(signal.SIGINT):  # SIGTERM stops them, below
                pending.append(pool.submit(function, task))
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        finished = True
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError(
            "a worker process died, most likely because memory ran out: use fewer --processes"
        ) from None
    finally:
        if not finished:
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
