"""Compiled programs with all that is known of them before they run, and the memory they take."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from maed_jax.bench.operations import Count, count
from maed_jax.compiler_options import Options, without_cache

# On accelerators programs are asked for so many at a time, and only the last is waited for, as
# training does: asking for one takes an accelerator no time then.
IN_A_ROW = 8


@dataclasses.dataclass(frozen=True)
class Program:
    """A function compiled for some arguments; calling it runs it on them `calls` times."""

    run: Callable[[], Any]
    count: Count
    compile_seconds: float
    """tracing, and compiling without the cache"""
    memory: dict[str, int]
    """bytes that the compiled program takes on a device: arguments, results, temporaries, and all
    together; empty where XLA does not say"""

    @property
    def calls(self) -> int:
        return 1 if jax.default_backend() == "cpu" else IN_A_ROW

    def __call__(self) -> None:
        for _ in range(self.calls):
            answer = self.run()
        jax.block_until_ready(answer)


def compile(function: Callable, *arguments: Any, options: Options = None) -> Program:
    """Compiles `function` for arguments that are on the devices, with `compiler_options`."""
    jitted = jax.jit(function, compiler_options=options)
    compiled, seconds = compile_cold(jitted, *arguments)
    return Program(
        lambda: compiled(*arguments), count(function, *arguments), seconds, memory(compiled)
    )


def compile_cold(jitted: Any, *arguments: Any) -> tuple[Any, float]:
    """The compiled program, and the seconds that took, with nothing from the cache on disk."""
    with without_cache():
        start = time.perf_counter()
        compiled = jitted.lower(*arguments).compile()
        return compiled, time.perf_counter() - start


def memory(compiled: Any) -> dict[str, int]:
    """Bytes that a compiled program takes on each device."""
    found = compiled.memory_analysis()
    if found is None:
        return {}
    sizes = {
        "arguments": found.argument_size_in_bytes,
        "results": found.output_size_in_bytes - found.alias_size_in_bytes,
        "temporaries": found.temp_size_in_bytes,
    }
    return sizes | {"all": sum(sizes.values())}


def room() -> int:
    """Bytes that a program may take: all of an accelerator's memory; 8 GiB of a computer's."""
    statistics = jax.local_devices()[0].memory_stats()
    return (statistics or {}).get("bytes_limit", 8 * 2**30)


def peak_bytes() -> int | None:
    """The most memory taken so far: of the first device, or of this process where that is a CPU."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics:
        return statistics.get("peak_bytes_in_use")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
