"""Measures how long logging and saving block a run, with the paper's network and intervals.

    python scripts/measure_overhead.py [--workdir DIR]

It saves the state of the paper's network (parameters and Adam's moments) and records and writes
metrics as a run does, and times how long the loop waits. Disks write in the background. On a CPU
the state is already in main memory; an accelerator must also copy it there, at bus speed.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.models.maed import MAED
from maed_jax.runs.checkpoints import Checkpoints
from maed_jax.runs.config import load_config
from maed_jax.runs.state import create_state
from maed_jax.training.monitor import Monitor
from maed_jax.training.optimizer import make_optimizer

TERMS = ("loss", "keypoints_2d", "keypoints_3d", "pose", "shape", "norm")
METRICS = (*TERMS, "gradient_norm", "learning_rate")


def full_state(config):
    size = config.model.image_size

    def init():
        clip = jnp.zeros((1, 1, size, size, 3))
        variables = MAED(**config.model).init(jax.random.key(0), clip, keypoint_body(mannequin()))
        return create_state(variables, make_optimizer(config.optimizer))

    shapes = jax.eval_shape(init)
    return jax.jit(lambda: jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), shapes))()


def logging_seconds(directory: Path, log_every: int, steps: int = 2000) -> float:
    """Measures the cost of recording per step, including a write every `log_every` steps."""
    options = dict(start=0, total=steps, log_every=log_every, items={"clips": 32}, max_skipped=20)
    values = {name: jnp.float32(1) for name in METRICS} | {"skipped": jnp.int32(0)}
    directory.mkdir()
    with Monitor(directory, **options) as monitor:
        begin = time.perf_counter()
        for step in range(1, steps + 1):
            monitor.record(step, values)
        return (time.perf_counter() - begin) / steps


def saving_seconds(directory: Path, state, saves: int = 3) -> float:
    """Measures how long a save blocks the loop when the previous save is already on disk."""
    taken = []
    for step in range(1, saves + 2):  # the first compiles
        with Checkpoints(directory, keep=1) as checkpoints:
            begin = time.perf_counter()
            checkpoints.save(state.replace(step=jnp.int32(step)), {"batches": step})
            taken.append(time.perf_counter() - begin)
    return min(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--workdir", help="a directory on the disk to measure; default: a temporary one"
    )
    directory = Path(tempfile.mkdtemp(dir=parser.parse_args().workdir))
    try:
        config = load_config("stage2")
        state = full_state(config)
        megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
        log = logging_seconds(directory / "log", config.log_every)
        save = saving_seconds(directory / "save", state)
    finally:
        shutil.rmtree(directory)
    each = log + save / config.checkpoint_every
    print(f"logging every {config.log_every} steps: {1e3 * log:.3f} ms per step")
    print(f"saving {megabytes:.0f} MB: the loop waits {1e3 * save:.0f} ms per save")
    print(
        f"with a save every {config.checkpoint_every} steps, together {1e3 * each:.2f} ms per "
        f"step: under 2% if a step takes {1e3 * each / 0.02:.0f} ms or more"
    )


if __name__ == "__main__":
    main()
