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
        self.signal = 0
        """the signal for which the run stops, or 0"""
        self._multiprocess = jax.process_count() > 1
        self._handlers: dict = {}

    def after(self, step: int) -> bool:
        """Whether to stop after `step`; every process must call this at every step."""
        if self._multiprocess and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return bool(self.signal)

    def _handle(self, signum, frame) -> None:
        print("\nstopping after this step; repeat to stop immediately", file=sys.stderr)
        self._restore()
        if self._multiprocess:
            signal.raise_signal(signal.SIGTERM)
        else:
            self.signal = signum

    def _restore(self) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        self._handlers = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            signals = [signal.SIGINT] if self._multiprocess else [signal.SIGINT, signal.SIGTERM]
            for signum in signals:
                self._handlers[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *exception) -> None:
        self._restore()
