"""Shared by the proofs in this folder: runs `maed train` on a tiny dataset and reads the results.

Not a command. Each proof keeps everything in its `--workdir DIR`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

TRAIN = (sys.executable, "-m", "maed_jax.training.train")


def workdir(description: str, default: str) -> Path:
    """Returns the directory passed on the command line, after making the tiny dataset in it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--workdir", default=default, help=f"default: {default}")
    return with_dataset(Path(parser.parse_args().workdir).absolute())


def run_parts(
    description: str, default: str, parts: dict[str, Callable[..., None]], **numbers: int
) -> None:
    """Runs the parts of a proof named on the command line, or all of them.

    Args:
      numbers: sizes that can be reduced for a quick check, with their defaults; each becomes an
        option, and is passed by name to the parts that take it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; default all")
    parser.add_argument("--workdir", default=default, help=f"default: {default}")
    for name, full in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=full, help=f"default: {full}")
    options = vars(parser.parse_args())
    chosen = options.pop("parts") or list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"there is no part {unknown.pop()}; choose from {', '.join(parts)}")
    directory = Path(options.pop("workdir")).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        print(f"{name}:", flush=True)
        wanted = inspect.signature(parts[name]).parameters
        parts[name](directory, **{key: options[key] for key in options if key in wanted})


def with_dataset(directory: Path) -> Path:
    """Makes the tiny dataset in a directory, unless it is there; returns the directory."""
    data = directory / "data"
    if not (data / "mannequins" / "tiny").exists():
        build = ["data", "build", "mannequins", "--config", "tiny", "--data_dir", str(data)]
        subprocess.run(
            [sys.executable, "-m", "maed_jax.cli", *build], check=True, env=environment()
        )
    return directory


def fresh(run: Path) -> Path:
    """Deletes everything of an earlier run; returns its directory."""
    shutil.rmtree(run, ignore_errors=True)
    for log in run.parent.glob(f"{run.name}*.log"):
        log.unlink()
    return run


def environment(devices: int = 1) -> dict[str, str]:
    """Returns the environment of a process with `devices` simulated devices.

    LLVM's optimiser is off, because a tiny run spends most of its time compiling.
    """
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONUNBUFFERED": "1"}


def command(run: Path, *words: str, config: str = "debug:stage2", **settings) -> list[str]:
    """Returns the `maed train` command for the directory `run`; settings: e.g. `mesh__data=2`."""
    settings = {"data__data_dir": run.parent / "data", "log_every": 1} | settings
    overrides = [f"--config.{key.replace('__', '.')}={value}" for key, value in settings.items()]
    return [*TRAIN, "--config", config, "--workdir", str(run), *words, *overrides]


def train(run: Path, *words: str, devices: int = 1, **settings) -> None:
    """Trains to the end; the log is written next to the run's directory."""
    with run.with_suffix(".log").open("a") as log:
        process = subprocess.run(
            command(run, *words, **settings), env=environment(devices), stderr=log
        )
    if process.returncode:
        sys.exit(f"{run.name} failed:\n{run.with_suffix('.log').read_text()[-2000:]}")


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> np.ndarray:
    """Of every step that was taken."""
    return np.array([line["loss"] for line in lines(run) if "loss" in line])


def farthest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference relative to `b`; infinite where the lengths differ."""
    return float(np.abs(a / b - 1).max()) if len(a) == len(b) else float("inf")


def digest(run: Path, step: int) -> dict[str, str]:
    """Returns the parts of a checkpoint (parameters, optimiser, ...) -> their SHA-256, and the
    data position."""
    import jax
    from orbax.checkpoint import v1 as ocp

    from maed_jax.runs.checkpoint_parts import VARIABLES, load, metadata

    path = run / "checkpoints" / str(step)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    wanted = {n: metadata(path, n) for n in (*VARIABLES, "training") if (path / n).is_dir()}
    wanted = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here), wanted)
    parts, facts = load(functools.partial(ocp.load_checkpointables, path), wanted)
    found = {}
    for name, tree in parts.items():
        sums = hashlib.sha256()
        for leaf in jax.tree.leaves(tree):
            sums.update(np.asarray(leaf).tobytes())
        found[name] = sums.hexdigest()
    return found | {"position": json.dumps(facts["position"], sort_keys=True)}


def verdict(ok: bool, text: str) -> None:
    """Prints a line of the result; exits with status 1 if it failed."""
    print(f"{'ok' if ok else 'FAILED'}: {text}", flush=True)
    if not ok:
        sys.exit(1)
