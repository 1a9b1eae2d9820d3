"""The machine's own rates: matmuls and copies, measured alongside what is compared with them.

A figure in units of the yardstick says how much of the machine a program uses, and is comparable
between machines, and between hours on a machine with other load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.bench.clock import spread

READING = 0.2  # minimum duration of reading a rate, in seconds
Probe = tuple[Callable[[], object], float]
"""work, and its amount: operations or bytes"""
# Environment variables that silently change the speed of NumPy's and XLA's matmuls.
ENVIRONMENT = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "XLA_FLAGS")


class Yardstick:
    """Reads the machine's rates repeatedly.

    On a CPU, matmuls are in float32, by NumPy's BLAS or XLA, whichever is faster over all readings.
    On accelerators they are XLA's, in `dtype` (float32 in JAX's default precision); the rates of
    both dtypes are reported.

    Args:
      dtype: "float32" or "bfloat16", the rate that counts on an accelerator.
      side: of the matrices; the default is large enough for the device.
      megabytes: size of the copy; more than the caches hold.
      clock: seconds, see `clock.rounds`.
    """

    def __init__(
        self,
        dtype: str = "float32",
        side: int = 0,
        megabytes: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._clock = clock
        on_cpu = jax.default_backend() == "cpu"
        side = side or (1536 if on_cpu else 8192)
        megabytes = megabytes or (64 if on_cpu else 1024)
        kinds = ("float32",) if on_cpu else (dtype, *{"float32", "bfloat16"} - {dtype})
        self.unit = f"{kinds[0]} matmuls"
        self._matmuls = {f"XLA {kind}": _xla_matmul(side, kind, on_cpu) for kind in kinds}
        self._copies = {"XLA": _xla_copy(megabytes)}
        if on_cpu:
            self._matmuls["NumPy float32"] = _numpy_matmul(side)
            self._copies["NumPy"] = _numpy_copy(megabytes)
        self._counting = [name for name in self._matmuls if name.endswith(kinds[0])]
        self._read: dict[str, list[float]] = {}
        for work, _ in (*self._matmuls.values(), *self._copies.values()):
            work()  # allocates its memory

    def read(self) -> int:
        """Measures all rates once; returns the index of the reading, from 0."""
        for kind, probes in (("matmuls", self._matmuls), ("copies", self._copies)):
            for name, probe in probes.items():
                rate = _rate(*probe, self._clock)
                self._read.setdefault(f"{kind}, {name}", []).append(rate)
        return len(next(iter(self._read.values()))) - 1

    def matmuls(self) -> list[float]:
        """Returns matmul operations (multiplications and additions) per second at each reading."""
        return self._best([f"matmuls, {name}" for name in self._counting])

    def copies(self) -> list[float]:
        """Returns bytes read and written per second at each reading."""
        return self._best([f"copies, {name}" for name in self._copies])

    def _best(self, names: list[str]) -> list[float]:
        return max((self._read[name] for name in names), key=np.median)

    def summary(self) -> dict:
        """Returns all rates over the readings, those that count, and what may affect them."""
        environment = {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}
        return {
            "unit": self.unit,
            "matmuls": spread(self.matmuls()),
            "copies": spread(self.copies()),
            "rates": {name: spread(values) for name, values in self._read.items()},
            "environment": environment,
        }


def _rate(work: Callable[[], object], amount: float, clock: Callable[[], float]) -> float:
    """Returns the amount per second over at least `READING` seconds, to average out short peaks."""
    repeats, start = 0, clock()
    while repeats < 2 or clock() - start < READING:
        work()
        repeats += 1
    return repeats * amount / (clock() - start)


def _matrices(side: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, side, side), np.float32)
    return a, b / np.float32(np.sqrt(side))  # so that repeated products keep their magnitude


def _numpy_matmul(side: int) -> Probe:
    a, b = _matrices(side)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out), 2 * side**3


def _xla_matmul(side: int, dtype: str, on_cpu: bool) -> Probe:
    a, b = (jnp.asarray(x, dtype) for x in _matrices(side))
    repeats = 1 if on_cpu else 16  # amortises the launch on accelerators

    def matmuls(a, b):
        return jax.lax.fori_loop(0, repeats, lambda _, x: x @ b, a) if repeats > 1 else a @ b

    program = jax.jit(matmuls).lower(a, b).compile()
    return lambda: program(a, b).block_until_ready(), 2 * side**3 * repeats


def _numpy_copy(megabytes: int) -> Probe:
    a = np.ones(megabytes * 2**18, np.float32)
    out = np.empty_like(a)
    return lambda: np.copyto(out, a), 2 * a.nbytes


def _xla_copy(megabytes: int) -> Probe:
    a = jnp.ones(megabytes * 2**18, jnp.float32)
    program = jax.jit(jnp.negative).lower(a).compile()  # XLA would optimise a plain copy away
    return lambda: program(a).block_until_ready(), 2 * a.nbytes
