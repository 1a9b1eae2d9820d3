"""Sets up JAX for the command line, before the first computation."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def cache_dir() -> Path:
    """The directory for files that can be recreated at any time: `~/.cache/maed_jax`.

    Raises:
      RuntimeError: the user has no home directory.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maed_jax"


# Parameters for glibc's mallopt: one arena (others cannot hold large blocks), no mmap (freed
# mappings are returned to the system), no trimming of the heap.
_KEEP = {"M_ARENA_MAX": (-8, 1), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1)}


def keep_memory() -> bool:
    """Makes this process keep the memory that it frees, for reuse; returns whether that worked.

    On a CPU, every call of an XLA program allocates its memory anew, and the operating system maps
    and clears it page by page: a fifth to a quarter of the demo's training step. The process then
    never shrinks. Call this before starting threads. Only works with glibc.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all([libc.mallopt(*parameter) for parameter in _KEEP.values()])


def configure() -> None:
    """Keeps memory (see `keep_memory`), and caches compiled programs, so that only the first run
    of a model compiles it.

    `JAX_COMPILATION_CACHE_DIR` overrides the cache's location; an empty value disables it. Without
    a home directory, or if the location is not writable, programs are compiled in every run.
    """
    import absl.flags
    import jax

    keep_memory()
    # Grain's worker processes read absl's flags, but our command line uses argparse.
    absl.flags.FLAGS.mark_as_parsed()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir:
        return  # already set by the user or the program
    try:
        directory = cache_dir() / "xla"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(directory, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
