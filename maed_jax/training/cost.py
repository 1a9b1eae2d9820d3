"""The cost of a step: operations, memory, and the fraction of the chips' peak that it reaches."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import jax

from maed_jax.compiler_options import Options, without_cache

# Dense bfloat16 operations per second of one device, from the vendors' data sheets, by prefix of
# JAX's `device_kind`; the longest match counts.
PEAKS = {
    "TPU v3": 123e12 / 2,  # each of a chip's two cores is a JAX device
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU7x": 2307e12 / 2,  # likewise
    "NVIDIA V100": 125e12,
    "Tesla V100": 125e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40": 181e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}


def peak(device_kind: str) -> float | None:
    """Peak operations per second of one device, or None if unknown."""
    kinds = [n for n in PEAKS if device_kind == n or device_kind.startswith((f"{n} ", f"{n}-"))]
    return PEAKS[max(kinds, key=len)] if kinds else None


class Compiled:
    """A jitted function, compiled for the arguments of its first call.

    Later calls must have arguments of the same shapes and layouts.
    """

    def __init__(self, function: Any, options: Options, counted: Any = None):
        """
        Args:
          options: see `compiler_options`. With any, the program is not cached on disk.
          counted: a jitted function that does the same without loops, if `function` has some: XLA
            counts what they repeat only once.
        """
        self._function, self._counted, self._options = function, counted or function, options
        self._program, self._seconds = None, 0.0
        self.operations = 0.0
        """multiplications and additions of one call, on all devices together, before XLA optimises
        the program; includes what `remat` recomputes, but not calls of libraries, such as cuDNN's
        attention (`models.flash`). 0 before the first call and if XLA does not report it."""

    def __call__(self, *arguments: Any) -> Any:
        if self._program is None:
            start = time.monotonic()
            lowered = self._function.lower(*arguments)
            with without_cache() if self._options else contextlib.nullcontext():
                self._program = lowered.compile(compiler_options=self._options)
            self._seconds = time.monotonic() - start
            if self._counted is not self._function:
                lowered = self._counted.lower(*arguments)
            self.operations = (lowered.cost_analysis() or {}).get("flops", 0.0)
        return self._program(*arguments)

    def summary(self) -> str:
        """Describes the cost of a call, as far as known; for use after the first call."""
        costs = []
        if self.operations:
            costs.append(f"takes {self.operations / 1e12:.3g} TFLOP")
        if (memory := self._program.memory_analysis()) is not None:
            size = memory.argument_size_in_bytes + memory.temp_size_in_bytes
            size += memory.output_size_in_bytes - memory.alias_size_in_bytes
            costs.append(f"needs {size / 2**30:.3g} GiB on each device")
        return f"a step {' and '.join(costs) or 'is ready'}; compiled in {self._seconds:.0f} s"


def throughput(operations: float, calls_per_second: float, devices: int) -> dict[str, float]:
    """Achieved TFLOP/s over all devices, and the fraction of their peak if that is known.

    Args:
      operations: number per call.
      devices: number of devices that share a call.
    """
    if not operations:
        return {}
    achieved = operations * calls_per_second
    rates = {"teraflops_per_second": achieved / 1e12}
    if device_peak := peak(jax.devices()[0].device_kind):
        rates["share_of_peak"] = achieved / (device_peak * devices)
    return rates
