"""What the command line sets up in JAX before the first computation."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Where this program keeps what it may always make again: `~/.cache/maed_jax`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maed_jax"


def configure() -> None:
    """Keeps compiled programs between runs, so that only the first run of a model compiles it.

    `JAX_COMPILATION_CACHE_DIR` overrides the place; set to nothing it turns the cache off. Where
    the place cannot be written, programs are compiled anew each time.
    """
    import absl.flags
    import jax

    # Grain's worker processes look at absl's flags, and our command line is argparse's.
    absl.flags.FLAGS.mark_as_parsed()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir:
        return  # the user or the program has chosen
    directory = cache_dir() / "xla"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(directory, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
