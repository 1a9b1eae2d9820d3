"""Checks that results do not depend on the number of devices: 8 simulated devices on a CPU.

    python scripts/prove_scaling.py [--workdir DIR]

1. 20 steps of `debug:stage2` on 1 device, on 8, and on 8 with parameters and optimiser sharded over
   them (FSDP): the same losses to a relative 1e-5, dropout included.
2. The bytes of parameters and optimiser that each device then holds, for the paper's network.
3. A checkpoint made on 4 devices resumes on 1, 2 and 8.

Takes minutes on two cores, mostly for compilation.
"""

import json
import os
import shutil
from pathlib import Path

import proof

os.environ.update(proof.environment(devices=8))  # before JAX starts

import jax
import jax.numpy as jnp

from maed_jax.runs.config import defaults, load_config
from maed_jax.training.train import train

STEPS = 20


def run(directory: Path, name: str, data: int, fsdp: int = 1) -> Path:
    settings = {
        "data.data_dir": directory / "data",
        "steps": STEPS,
        "log_every": 1,
        "checkpoint_every": STEPS // 2,
        "data.clips_per_batch": 8,
        "data.images_per_batch": 8,
        "mesh.data": data,
        "mesh.fsdp": fsdp,
    }
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    train(load_config("debug:stage2", overrides), directory / name)
    return directory / name


def compare(one: Path, other: Path, text: str) -> None:
    difference = proof.farthest(proof.losses(one), proof.losses(other))
    proof.verdict(difference < 1e-5, f"{text}: {STEPS} losses within {difference:.1e}")


def bytes_held(fsdp: int) -> float:
    """Returns the MB of parameters and Adam's moments of the paper's network on each device."""
    from maed_jax.body.mannequin import mannequin
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.models.maed import MAED
    from maed_jax.runs.state import create_state
    from maed_jax.training import sharding
    from maed_jax.training.optimizer import make_optimizer

    c = defaults()
    mesh = sharding.make_mesh(8 // fsdp, fsdp)

    def init():
        clip = jnp.zeros((1, 1, c.model.image_size, c.model.image_size, 3))
        variables = MAED(**c.model).init(jax.random.key(0), clip, keypoint_body(mannequin()))
        return create_state(variables, make_optimizer(c.optimizer))

    shapes = jax.eval_shape(init)
    empty = jax.jit(
        lambda: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes),
        out_shardings=sharding.state_shardings(mesh, shapes),
    )()
    held = {
        sum(leaf.addressable_shards[i].data.nbytes for leaf in jax.tree.leaves(empty))
        for i in range(8)
    }
    assert len(held) == 1  # the same on all devices
    return held.pop() / 1e6


def main() -> None:
    directory = proof.workdir(__doc__.splitlines()[0], "proofs/scaling")
    for name in ("one", "eight", "fsdp", "four"):
        proof.fresh(directory / name)
    one = run(directory, "one", data=1)
    compare(one, run(directory, "eight", data=8), "8 devices against 1")
    compare(one, run(directory, "fsdp", data=1, fsdp=8), "FSDP over 8 devices against 1")

    whole, spread = bytes_held(1), bytes_held(8)
    proof.verdict(
        spread < whole / 7.5,
        f"parameters and optimiser of the paper's network: {whole:.0f} MB on each device, "
        f"{spread:.0f} MB with FSDP over 8: 1/{whole / spread:.2f}",
    )

    four = run(directory, "four", data=2, fsdp=2)
    compare(one, four, "2 x 2 devices against 1")
    for data, fsdp in ((1, 1), (2, 1), (2, 4)):
        copy = proof.fresh(directory / f"four_then_{data * fsdp}")
        shutil.copytree(four, copy)
        shutil.rmtree(copy / "checkpoints" / str(STEPS))
        run(directory, copy.name, data=data, fsdp=fsdp)
        steps = [json.loads(line)["step"] for line in (copy / "metrics.jsonl").open()]
        assert steps == list(range(1, STEPS + 1))
        compare(four, copy, f"resumed after step {STEPS // 2} on {data} x {fsdp} devices")


if __name__ == "__main__":
    main()
