"""What the command line sets up in JAX before the first computation."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def cache_dir() -> Path:
    """Where this program keeps what it can always make again: `~/.cache/maed_jax`.

    Raises:
      RuntimeError: the user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maed_jax"


# Parameters of glibc's mallopt: use one arena (others cannot hold large blocks), never mmap (freed
# mappings go back to the system), never trim the heap.
_KEEP = {"M_ARENA_MAX": (-8, 1), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1)}


def keep_memory() -> bool:
    """Lets this process keep the memory that it frees, for its own next use; says whether it does.

    Each call of an XLA program on the CPU takes its memory anew, and the operating system maps
    and clears it page by page: a fifth to a quarter of the demo's training step. The process stays
    as large as it once was. To be called before there are other threads; only glibc can do it.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all([libc.mallopt(*parameter) for parameter in _KEEP.values()])


def configure() -> None:
    """Keeps memory (see `keep_memory`), and compiled programs between runs, so that only the first
    run of a model compiles it.

    `JAX_COMPILATION_CACHE_DIR` overrides the place; set to nothing it turns the cache off. Where
    the user has no home, or the place cannot be written, programs are compiled anew each time.
    """
    import absl.flags
    import jax

    keep_memory()
    # Grain's worker processes look at absl's flags, and our command line is argparse's.
    absl.flags.FLAGS.mark_as_parsed()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir:
        return  # the user or the program has chosen
    try:
        directory = cache_dir() / "xla"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(directory, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
