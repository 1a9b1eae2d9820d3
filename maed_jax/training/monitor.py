"""Reports on a run's progress: TensorBoard, JSON lines and a progress bar, from one process."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from maed_jax.errors import UserError
from maed_jax.files.atomic import atomic_write
from maed_jax.files.json import read_json_lines

STARVED = 0.3  # fraction of time spent waiting for batches from which a hint is printed
PATIENCE = 3  # after this many reports in a row


class Monitor:
    """Collects the metrics of steps on the device and writes their means every `log_every` steps.

    Only the lead process writes. When a run resumes, lines after its last checkpoint are removed,
    so that no step is reported twice. Each validation has its own line.

    Args:
      workdir: contains `metrics.jsonl` and `tensorboard/`.
      start, total: steps done and total number of steps.
      items: what a step consumes, for the throughput: `{"clips": 4, "images": 16}`.
      max_skipped: number of skipped steps in a row that ends the run.
      rates: maps steps per second to further rates to write, by name.
      waited: returns the seconds that training has waited for batches so far.
      replaced: returns the number of samples so far that could not be read and were replaced.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        start: int,
        total: int,
        log_every: int,
        items: Mapping[str, int],
        max_skipped: int,
        rates: Callable[[float], Mapping[str, float]] = lambda steps_per_second: {},
        waited: Callable[[], float] = lambda: 0.0,
        replaced: Callable[[], int] = lambda: 0,
    ):
        self._log_every, self._total, self._max_skipped = log_every, total, max_skipped
        self._items, self._rates = {name: n for name, n in items.items() if n}, rates
        self._pending: list[Mapping[str, jax.Array]] = []
        self._waited, self._starved = waited, 0
        self._replaced, self._replaced_before = replaced, replaced()
        self._lead = jax.process_index() == 0
        self._bar = self._lines = self._writer = None
        if self._lead:
            from tensorboardX import SummaryWriter

            workdir = Path(workdir)
            try:
                self._lines = _open_lines(workdir / "metrics.jsonl", start)
                self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=start + 1)
            except OSError as error:
                raise UserError(f"cannot write metrics in {workdir}: {error}") from None
            interval = 0.5 if sys.stderr.isatty() else 15.0  # seconds; a line each in a log file
            self._bar = tqdm(
                total=total, initial=start, desc="train", unit="step", mininterval=interval
            )
        # The clock starts after the first step, which compiles.
        self._start_time, self._timed_steps, self._waited_before = None, 0, 0.0

    def record(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Records the metrics of `step`, the number of steps done.

        Raises:
          UserError: too many steps in a row had no finite gradient, or metrics cannot be written;
            both are detected only when metrics are written.
        """
        self._pending.append(metrics)
        self._timed_steps += 1
        if self._start_time is None:
            jax.block_until_ready(metrics)
            self.restart_clock()
            if self._bar is not None:
                self._bar.unpause()
        if len(self._pending) > 2:  # the host may run at most two steps ahead of the devices
            jax.block_until_ready(self._pending[-3])
        if self._bar is not None:
            self._bar.update()
        if step % self._log_every == 0 or step == self._total:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Writes the means of the metrics recorded since the last flush."""
        if not self._pending:
            return
        history = jax.device_get(self._pending)
        self._pending = []
        rates = {}
        if self._timed_steps:
            seconds = time.monotonic() - self._start_time
            rates = self._rates_of(self._timed_steps / seconds)
            rates["waited_for_data"] = (self._waited() - self._waited_before) / seconds
            self._advise(rates["waited_for_data"])
        self.restart_clock()
        skipped = [int(metrics.get("skipped", 0)) for metrics in history]
        means = {
            name: _mean([m[name] for m, bad in zip(history, skipped) if not bad])
            for name in history[0]
            if name != "skipped"
        }
        means["skipped"] = sum(map(bool, skipped))
        means["samples_replaced"] = self._replaced() - self._replaced_before
        self.write(step, means | rates)
        if self._bar is not None:
            postfix = {"loss": f"{means['loss']:.4g}"} if "loss" in means else {}
            postfix |= {
                f"{name}/s": f"{rates[f'{name}_per_second']:.1f}" for name in self._items if rates
            }
            if "teraflops_per_second" in rates:
                postfix["TFLOP/s"] = f"{rates['teraflops_per_second']:.3g}"
            self._bar.set_postfix(postfix)
        if max(skipped) >= self._max_skipped:
            raise UserError(
                f"{max(skipped)} steps in a row up to step {step} had no finite gradient: "
                "lower config.optimizer.learning_rate or check the data"
            )
        if any(skipped):
            self.say(f"{means['skipped']} of {len(skipped)} steps skipped: no finite gradient")
        if means["samples_replaced"]:
            self._replaced_before += means["samples_replaced"]
            self.say(
                f"{means['samples_replaced']} samples could not be read and were replaced by "
                "others; `maed data check --all` finds damaged images"
            )

    def _rates_of(self, steps_per_second: float) -> dict[str, float]:
        consumed = {f"{name}_per_second": n * steps_per_second for name, n in self._items.items()}
        return consumed | dict(self._rates(steps_per_second))

    def _advise(self, waited: float) -> None:
        """Prints a hint once an accelerator waits for data; a CPU prepares batches by itself."""
        self._starved = self._starved + 1 if waited > STARVED else 0
        if self._starved == PATIENCE and jax.default_backend() != "cpu":
            self.say(
                f"training waits for batches {waited:.0%} of the time: "
                "use more worker processes (--config.data.workers)"
            )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes a line of `metrics.jsonl` and a point of each curve in TensorBoard."""
        if not self._lead:
            return
        # JSON has no NaN: values that could not be measured are null.
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        try:
            self._lines.write(json.dumps({"step": step} | finite) + "\n")
            self._lines.flush()
            for name, value in finite.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)
        except OSError as error:
            raise UserError(f"cannot write metrics: {error}") from None

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if self._lead:
            tqdm.write(text, file=sys.stderr)

    def write_images(self, step: int, name: str, images: Sequence[np.ndarray]) -> None:
        """Writes images uint8 `[h w 3]` of the same size to TensorBoard, stacked vertically."""
        if self._lead and images:
            self._writer.add_image(name, np.concatenate(images), step, dataformats="HWC")

    def restart_clock(self) -> None:
        """Excludes the time since the last flush (a validation) from the throughput."""
        self._start_time, self._timed_steps = time.monotonic(), 0
        self._waited_before = self._waited()

    def close(self) -> None:
        if self._lead:
            self._bar.close()
            self._writer.close()
            self._lines.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _open_lines(path: Path, start: int):
    """Opens a JSON lines file for appending, removing the lines after step `start`."""
    lines = read_json_lines(path, {"step": int}) if path.exists() else []
    with atomic_write(path, "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines if line["step"] <= start)
    return path.open("a", encoding="utf-8")


def _mean(values: list) -> float:
    return float(np.mean(values)) if values else math.nan
