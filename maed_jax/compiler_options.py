"""XLA compiler options for CPUs, where the defaults are not the best.

They are for `compiler_options` of `jax.jit`, which JAX accepts for whole programs only, not for
functions called inside a jitted one.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache import compilation_cache

Options = dict[str, bool | int | str] | None

_HASTILY: Options = {"xla_backend_optimization_level": 0}
# jaxlib 0.10 and 0.11 crash when oneDNN fuses some matmuls with the operations that follow, so
# matmuls are not fused.
_BY_ONEDNN: Options = {
    "xla_cpu_use_onednn": True,
    "xla_cpu_experimental_onednn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}
# Token width and number of frames from which oneDNN is faster (docs/tried.md). For small matmuls
# its overhead is higher, and each call copies the weights into its own layout.
_DIM, _FRAMES = 384, 8


def hastily() -> Options:
    """For programs that take longer to optimise than to run, such as initialising 100 arrays."""
    return _HASTILY if jax.default_backend() == "cpu" else None


def for_training(dim: int, frames: int) -> Options:
    """For training a network with tokens of width `dim` on `frames` frames at a time per device.

    XLA cannot save programs compiled with these options for other processes, so do not use them
    for tasks that only take minutes, such as prediction.
    """
    return _BY_ONEDNN if dim >= _DIM and frames >= _FRAMES and _has_onednn() else None


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Context in which programs are always compiled, without reading or writing JAX's cache."""
    before = jax.config.jax_enable_compilation_cache
    try:
        _use_cache(False)
        yield
    finally:
        _use_cache(before)


def _use_cache(wanted: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", wanted)
    compilation_cache.reset_cache()  # JAX reads the setting only once


@functools.cache
def _has_onednn() -> bool:
    """Whether the backend is a CPU whose XLA accepts the oneDNN options."""
    if jax.default_backend() != "cpu":
        return False
    try:
        with without_cache():
            jax.jit(jnp.negative, compiler_options=_BY_ONEDNN)(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True
