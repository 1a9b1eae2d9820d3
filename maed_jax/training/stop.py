"""How a run is asked to stop: signals, and the notices of machines that are about to be taken."""

from __future__ import annotations

import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils


class StopRequests:
    """While it lasts, the first Ctrl-C or SIGTERM is only noted; a second one acts.

    With several processes all of them have to stop after the same step. JAX sees to that: its
    preemption service takes SIGTERM, which is also how Cloud TPU and Slurm announce that a machine
    is about to be taken, in whichever process it arrives. There a first Ctrl-C is passed on as
    SIGTERM.
    """

    def __init__(self):
        self.number = 0
        """of the signal that the run stops for, or 0"""
        self._together = jax.process_count() > 1
        self._before: dict = {}

    def after(self, step: int) -> bool:
        """Whether to stop after `step`; to be asked at every step, by every process."""
        if self._together and multihost_utils.reached_preemption_sync_point(step):
            self.number = signal.SIGTERM
        return bool(self.number)

    def _note(self, number, frame) -> None:
        print("\nstopping after this step; once more to stop at once", file=sys.stderr)
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
