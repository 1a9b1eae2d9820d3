"""XLA's options for compiling on a CPU, where its own choice is not the best one.

For `jax.jit`'s `compiler_options`, which JAX takes for whole programs only, not for functions
within them.
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
# jaxlib 0.10 and 0.11 crash when oneDNN fuses some products with what follows, so each product
# stays by itself.
_BY_ONEDNN: Options = {
    "xla_cpu_use_onednn": True,
    "xla_cpu_experimental_onednn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}
# From tokens so wide and so many frames on, oneDNN is faster (docs/tried.md). For small
# products its cost per call is higher, and in each call it copies the weights into its own order.
_DIM, _FRAMES = 384, 8


def hastily() -> Options:
    """For what takes XLA longer to optimise than to run, such as drawing a hundred arrays."""
    return _HASTILY if jax.default_backend() == "cpu" else None


def for_training(dim: int, frames: int) -> Options:
    """For the training step of a network with tokens of `dim` numbers, on `frames` at a time.

    XLA cannot save what is compiled with these for another process, so they are not for work that
    is done within minutes, such as prediction.
    """
    return _BY_ONEDNN if dim >= _DIM and frames >= _FRAMES and _has_onednn() else None


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Programs are compiled anew within this, and not saved for other processes."""
    before = jax.config.jax_enable_compilation_cache
    try:
        _use_cache(False)
        yield
    finally:
        _use_cache(before)


def _use_cache(wanted: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", wanted)
    compilation_cache.reset_cache()  # JAX looks at the setting once


@functools.cache
def _has_onednn() -> bool:
    """Whether programs are for a CPU, and this XLA takes the options."""
    if jax.default_backend() != "cpu":
        return False
    try:
        with without_cache():
            jax.jit(jnp.negative, compiler_options=_BY_ONEDNN)(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True
