"""Requests to stop a run: signals, and preemption notices of machines."""

from __future__ import annotations

import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils


class StopRequests:
    """In this context the first Ctrl-C or SIGTERM is only recorded; a second one acts.

    Several processes must all stop after the same step. JAX's preemption service ensures this: it
    handles SIGTERM in any of them, which is also how Cloud TPU and Slurm announce preemption. With
    several processes, a first Ctrl-C is therefore turned into SIGTERM.
    """

    def __init__(self):
        self.number = 0
        """the signal for which the run stops, or 0"""
        self._together = jax.process_count() > 1
        self._before: dict = {}

    def after(self, step: int) -> bool:
        """Whether to stop after `step`; every process must call this at every step."""
        if self._together and multihost_utils.reached_preemption_sync_point(step):
            self.number = signal.SIGTERM
        return bool(self.number)

    def _note(self, number, frame) -> None:
        print("\nstopping after this step; repeat to stop immediately", file=sys.stderr)
        self._restore()
        if self._together:
            signal.raise_signal(signal.SIGTERM)
        else:
            self.number = number

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT,) if self._together else (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        self._restore()
