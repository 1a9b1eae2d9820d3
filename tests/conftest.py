"""Shared by all tests: golden vectors, JAX on the CPU as eight devices, and no network."""

import os
import signal
from pathlib import Path

import absl.flags
import examples  # noqa: F401  (how many examples hypothesis tries)
import jax
import offline
import pytest

# Tests send themselves Ctrl-C, which a shell makes its background processes ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Grain's worker processes read absl's flags, which pytest never parses.
absl.flags.FLAGS.mark_as_parsed()

# Most tests spend their time compiling programs that run once, so LLVM's optimiser is off, and so
# are the emitters that lower every fused kernel through MLIR, which take most of the remaining
# time: the suite is a good deal faster. Each process has one core, so programs are not split for
# parallel compilation.
flags = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
flags += ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):  # XLA aborts on flags that it does not know, or no longer knows
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(flags)

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
# Lets the second run of the suite skip most of the compiling.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(autouse=True)
def no_network():
    """Fails a test that tries to use the network: nothing here needs it."""
    offline.reached.clear()
    yield
    assert not offline.reached, "no test may use the network"


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The outputs of the original implementation (see parity_rules.py)."""
    return Path(__file__).parent / "golden"
