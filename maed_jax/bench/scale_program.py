"""Compiles one training step for simulated devices, in a separate process for `bench scale`.

Nothing is computed: the step is lowered and compiled for shapes, so that 256 devices fit into the
memory of one. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maed_jax.bench import record

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def compile_in_process(
    devices: int, fsdp: int, clips: int, frames: int, config: str, overrides: Sequence[str]
) -> dict[str, Any]:
    """Compiles in a new process, because a process cannot change its number of devices.

    Args:
      fsdp: number of devices that share one copy of parameters and optimiser state.
      clips, frames: clips per device, and frames per clip.

    Raises:
      RuntimeError: the process failed.
    """
    # LLVM only optimises arithmetic within a device, which does not matter here.
    flags = [
        os.environ.get("XLA_FLAGS", ""),
        f"--xla_force_host_platform_device_count={devices}",
        "--xla_backend_optimization_level=0",
    ]
    environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    numbers = [f"--{devices=}", f"--{fsdp=}", f"--{clips=}", f"--{frames=}"]
    command = [sys.executable, "-m", __name__, *numbers, f"--{config=!s}", *overrides]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("devices", "fsdp", "clips", "frames"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--config", required=True)
    options, overrides = parser.parse_known_args(argv)
    config = record.load(options.config, overrides)
    print(json.dumps(describe(config, **{k: v for k, v in vars(options).items() if k != "config"})))


def describe(
    config: ConfigDict, *, devices: int, fsdp: int, clips: int, frames: int
) -> dict[str, Any]:
    """Returns operations, collectives and memory of the compiled step, per device."""
    import jax

    from maed_jax.bench import collectives, programs, steps
    from maed_jax.bench.operations import count
    from maed_jax.training import sharding

    mesh = sharding.make_mesh(devices // fsdp, fsdp)
    jitted, arguments = steps.abstract(config, mesh, clips, frames)
    start = time.perf_counter()
    compiled = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    found = collectives.collectives(compiled.as_text(), devices)
    return {
        "devices": devices,
        "fsdp": fsdp,
        "operations": count(jitted, *arguments).operations / devices,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(arguments[0].params)),
        "collectives": collectives.totals(found),
        "memory": programs.memory(compiled),
        "compile seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
