"""Describes the machine that the program runs on."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path
from typing import Any


def available_cores() -> int:
    """Number of cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
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


def environment() -> dict[str, Any]:
    """Machine and versions, for reports; JAX's device and versions only if JAX was imported."""
    jax = sys.modules.get("jax")
    versions = ("maed_jax", *(("jax", "flax") if jax else ()), "numpy")
    return {
        **({"device": jax.devices()[0].device_kind} if jax else {}),
        "cpu": processor(),
        "cores": available_cores(),
        "python": platform.python_version(),
        **{package: importlib.import_module(package).__version__ for package in versions},
    }
