"""Compiled programs with their operation counts, compile times and memory."""

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

# Number of calls queued on an accelerator before waiting for the last, as in training, so that
# launching them does not count.
QUEUED_CALLS = 8


@dataclasses.dataclass(frozen=True)
class Program:
    """A function compiled for given arguments; calling it runs it on them `calls` times."""

    run: Callable[[], Any]
    count: Count
    compile_seconds: float
    """for tracing, and compiling without the cache"""
    memory: dict[str, int]
    """bytes that the program needs on a device: arguments, results, temporaries, and all of these;
    empty if XLA does not say"""

    @property
    def calls(self) -> int:
        return 1 if jax.default_backend() == "cpu" else QUEUED_CALLS

    def __call__(self) -> None:
        for _ in range(self.calls):
            output = self.run()
        jax.block_until_ready(output)


def compile(function: Callable, *arguments: Any, options: Options = None) -> Program:
    """Compiles `function` for arguments on the devices, with compiler `options`."""
    compiled, seconds = compile_cold(jax.jit(function), *arguments, options=options)
    return Program(
        lambda: compiled(*arguments), count(function, *arguments), seconds, memory(compiled)
    )


def compile_cold(jitted: Any, *arguments: Any, options: Options = None) -> tuple[Any, float]:
    """Returns the compiled program, and the seconds to compile it without the cache on disk."""
    with without_cache():
        start = time.perf_counter()
        compiled = jitted.lower(*arguments).compile(compiler_options=options)
        return compiled, time.perf_counter() - start


def memory(compiled: Any) -> dict[str, int]:
    """Returns the bytes that a compiled program needs on each device."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return {}
    sizes = {
        "arguments": analysis.argument_size_in_bytes,
        "results": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporaries": analysis.temp_size_in_bytes,
    }
    return sizes | {"all": sum(sizes.values())}


def memory_limit() -> int:
    """Returns the bytes that a program may use: an accelerator's memory, or 8 GiB on a CPU."""
    statistics = jax.local_devices()[0].memory_stats()
    return (statistics or {}).get("bytes_limit", 8 * 2**30)


def peak_bytes() -> int | None:
    """Returns peak memory so far: of the first accelerator, or on a CPU of this process."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics:
        return statistics.get("peak_bytes_in_use")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
