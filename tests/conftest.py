"""What all tests share: golden vectors, JAX on the CPU as eight devices, and no network."""

import os
import signal
from pathlib import Path

import absl.flags
import examples  # noqa: F401  (how many hypothesis tries)
import jax
import offline
import pytest

# Tests send themselves Ctrl-C, which a shell ignores in what it starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Grain's worker processes look at absl's flags, which pytest never parses.
absl.flags.FLAGS.mark_as_parsed()

# Most tests spend their time compiling what runs once, so LLVM's optimiser is off, and so are the
# emitters that lower every fused kernel through MLIR, which take most of what is left: the suite is
# a good deal faster. Each process has one core, so programs are not cut up to be compiled at once.
flags = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
flags += ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):  # XLA dies of a flag that it does not know, or no longer
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(flags)

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
# The second run of the suite skips most of the compiling.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(autouse=True)
def no_network():
    """Nothing here needs the network, and so nothing may reach for it, in any test."""
    offline.reached.clear()
    yield
    assert not offline.reached, "nothing may reach for the network"


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The answers of the original implementation (see parity_rules.py)."""
    return Path(__file__).parent / "golden"
