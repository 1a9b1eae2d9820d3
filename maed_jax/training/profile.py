"""Traces some steps for TensorBoard's profiler or Perfetto."""

from __future__ import annotations

from pathlib import Path

import jax

from maed_jax.errors import UserError
from maed_jax.runs.checkpoint_parts import say


class Profile:
    """Traces the steps after START up to and including STOP into `workdir/profile/`.

    Args:
      span: "START:STOP", or None for no trace.

    Raises:
      UserError: `span` is malformed.
    """

    def __init__(self, workdir: str | Path, span: str | None):
        self._directory, self._span, self._running = Path(workdir) / "profile", None, False
        if span is not None:
            start, _, stop = span.partition(":")
            if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
                raise UserError(f"--profile takes steps such as 100:110, not {span!r}")
            self._span = int(start), int(stop)

    def after(self, step: int, results: object) -> None:
        """To be called after every step, with its results, which may still be being computed."""
        if self._span is None:
            return
        start, stop = self._span
        if step == start:
            jax.block_until_ready(results)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # it would slow down what is measured
            jax.profiler.start_trace(str(self._directory), profiler_options=options)
            self._running = True
        elif step > start and not self._running:
            say(f"--profile {start}:{stop} traces nothing: this run resumes from step {step}")
            self._span = None
        elif step == stop:
            jax.block_until_ready(results)
            self.close()
            self._span = None

    def close(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *exception) -> None:
        self.close()
