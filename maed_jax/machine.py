"""The machine that a program runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def available_cores() -> int:
    """How many cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment() -> dict:
    """Machine and versions, for the record."""
    import flax
    import jax
    import numpy

    import maed_jax

    return {
        "device": jax.devices()[0].device_kind,
        "cpu": processor(),
        "cores": available_cores(),
        "python": platform.python_version(),
        "maed_jax": maed_jax.__version__,
        "jax": jax.__version__,
        "flax": flax.__version__,
        "numpy": numpy.__version__,
    }
