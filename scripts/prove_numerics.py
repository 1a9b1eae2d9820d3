"""Checks that losses and gradients are finite, bfloat16 is close, and runs repeat bit for bit.

    python scripts/prove_numerics.py [poses] [bfloat16] [bits] [--workdir DIR] [--people N]

poses     a million people, most of them impossible, from a decoder's output through the body, its
          keypoints and the camera to the loss: value and gradient of each one are finite.
bfloat16  a network with random weights in bfloat16, compared with float32 on noise: how far joints
          move.
bits      two runs of 20 steps from scratch and two evaluations: bit-identical.

Takes minutes on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import proof

WEIGHTS = {"keypoints_2d": 300.0, "keypoints_3d": 600.0, "pose": 60.0, "shape": 0.06, "norm": 1.0}
POLE = -1e-9 / 224  # scale at which a crop's camera would be infinitely far away


def poses6d(rng: np.random.Generator, people: int) -> np.ndarray:
    """Returns 6D rotations `[people 24 6]`; half are random, half of a random degenerate kind."""
    first, second = rng.normal(size=(2, people, 24, 3))
    other = {
        "zero": (0 * first, 0 * second),
        "one zero": (first, 0 * second),
        "other zero": (0 * first, second),
        "parallel": (first, first),
        "opposite": (first, -3 * first),
        "nearly parallel": (first, first + 1e-6 * second),
        "tiny": (1e-9 * first, 1e-9 * second),
        "vanishing": (1e-30 * first, 1e-30 * second),
        "huge": (1e12 * first, 1e12 * second),
        "unlike": (1e-8 * first, 1e8 * second),
        "at rest": (np.eye(3)[0] + 0 * first, np.eye(3)[1] + 0 * second),
        "half a turn": (np.eye(3)[0] + 0 * first, -np.eye(3)[1] + 0 * second),
        "another half": (-np.eye(3)[0] + 0 * first, np.eye(3)[1] + 0 * second),
    }
    kind = rng.integers(0, 2 * len(other), (people, 24, 1))
    for number, (a, b) in enumerate(other.values()):
        first, second = np.where(kind == number, a, first), np.where(kind == number, b, second)
    return np.stack([first, second], axis=-1).reshape(people, 24, 6).astype(np.float32)


def cameras(rng: np.random.Generator, people: int) -> np.ndarray:
    """Returns `[people 3]`: likely cameras, zeros, near the pole, huge, and bodies at the lens."""
    s, tx, ty = rng.normal(size=(3, people)) * [[0.2], [0.3], [0.3]] + [[0.9], [0], [0]]
    sign, magnitude = rng.choice([-1, 1], people), 10 ** rng.uniform(-14, 3, people)
    kind = rng.integers(0, 6, people)
    depth = rng.uniform(0.01, 1, people)
    s = np.select(
        [kind == 1, kind == 2, kind == 3, kind == 4],
        [0 * s, POLE * (1 + 1e-7 * rng.integers(-3, 4, people)), sign * magnitude,
         -2 * 5000 / 224 / depth], s,
    )  # fmt: skip
    far = np.where(kind == 5, 1000, 1)
    return np.stack([s, tx * far, ty * far], axis=-1).astype(np.float32)


def shapes(rng: np.random.Generator, people: int) -> np.ndarray:
    """Returns betas `[people 10]`: of the mean, of plausible people, and of impossible ones."""
    scale = rng.choice([0, 1, 1, 10, 1000], (people, 1))
    return (rng.normal(size=(people, 10)) * scale).astype(np.float32)


def labels(rng: np.random.Generator, people: int) -> dict[str, np.ndarray]:
    """Returns labels of one frame per person; masked values, except 3D keypoints, are NaN."""
    pose = rng.normal(size=(people, 1, 1, 24, 3))
    angle = rng.choice([0, 1e-4, 1, np.pi], (people, 1, 1, 24, 1))
    has_3d, has_smpl = rng.integers(0, 2, (2, people, 1, 1))
    visible = rng.integers(0, 2, (people, 1, 1, 49, 1))
    points = rng.normal(size=(people, 1, 1, 49, 3))
    known = np.where(visible > 0, points, np.nan)
    labels = {
        "keypoints_2d": np.concatenate([known[..., :2], visible], axis=-1),
        "keypoints_3d": np.concatenate([points, visible], axis=-1),
        "pose": np.where(has_smpl[..., None, None], pose * angle, np.nan).reshape(people, 1, 1, 72),
        "shape": np.where(has_smpl[..., None], rng.normal(size=(people, 1, 1, 10)), np.nan),
        "has_smpl": has_smpl,
        "has_3d": has_3d[:, 0],
    }
    return {name: value.astype(np.float32) for name, value in labels.items()}


def anyone(seed: int, count: int) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """Returns possible decoder outputs for `count` people, one frame each, and their labels."""
    rng = np.random.default_rng(seed)
    answer = [make(rng, count)[:, None, None] for make in (poses6d, shapes, cameras)]
    return tuple(answer), labels(rng, count)


def make_judge():
    """Returns a compiled function of `anyone`: losses, and the largest entries of gradients."""
    import jax
    import jax.numpy as jnp

    from maed_jax.body.mannequin import mannequin
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.models.maed import reconstruct
    from maed_jax.models.regression import Regression
    from maed_jax.training.losses import label_counts, losses

    body = keypoint_body(mannequin())

    def loss(answer, labels):
        prediction = reconstruct(Regression(*answer), jnp.zeros((1, 1, 1)), body, vertices=False)
        counts = label_counts({"clips": labels}, parts=1)["clips"]
        return losses(prediction, labels, WEIGHTS, counts)[0]

    def judge(answer, labels):
        value, gradient = jax.value_and_grad(loss)(answer, labels)
        return value, [jnp.abs(part).max() for part in gradient]  # NaN if any entry is

    return jax.jit(jax.vmap(judge))


def prove_poses(directory: Path, people: int) -> None:
    judge, batch = make_judge(), 2000
    worst, bad = np.zeros(4), 0
    for seed in range(-(-people // batch)):
        found = judge(*anyone(seed, batch))
        found = np.stack([found[0], *found[1]])
        finite = np.isfinite(found).all(axis=0)
        if not finite.all() and bad < 5:
            number = int(np.flatnonzero(~finite)[0])
            print(f"person {number} of seed {seed}: {found[:, number]}", flush=True)
        bad += int((~finite).sum())
        worst = np.maximum(worst, np.where(np.isfinite(found), found, 0).max(axis=1))
    names = ("loss", "gradient of pose", "of shape", "of camera")
    print("largest: " + ", ".join(f"{name} {value:.1e}" for name, value in zip(names, worst)))
    count = batch * -(-people // batch)
    proof.verdict(bad == 0, f"{count} people, {bad} of them with a non-finite loss or gradient")


def prove_bfloat16(directory: Path) -> None:
    import jax
    import jax.numpy as jnp

    from maed_jax.body.mannequin import mannequin
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.models.maed import MAED

    sizes = dict(
        image_size=112, clip_length=8, stage_sizes=(2, 2, 3), width=32, dim=256, depth=4, heads=8,
        feature_dim=256, decoder_width=512,
    )  # fmt: skip
    body, clips, t = keypoint_body(mannequin()), 32, 8
    shapes = jax.eval_shape(
        MAED(**sizes).init, jax.random.key(0), jnp.zeros((1, 1, 112, 112, 3)), body
    )
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        """Draws weights scaled by fan-in, so that every layer preserves the signal's scale."""
        gain = path[-1].key == "scale"
        scale = 0.1 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return (gain + scale * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    joints = {}
    for dtype in ("float32", "bfloat16"):
        apply = jax.jit(MAED(**sizes, dtype=dtype).apply)
        noise = np.random.default_rng(1)
        answers = [
            apply(variables, noise.standard_normal((4, t, 112, 112, 3), np.float32), body)
            for _ in range(clips // 4)
        ]
        points = np.concatenate([np.asarray(a.keypoints_3d, np.float64) for a in answers])
        joints[dtype] = 1000 * (points - points[:, :, [39]])  # millimetres, relative to the pelvis
    drift = np.linalg.norm(joints["bfloat16"] - joints["float32"], axis=-1)
    distances = np.linalg.norm(joints["float32"] - joints["float32"].mean((0, 1)), axis=-1)
    percentiles = (50, 95, 99, 100)
    text = ", ".join(
        f"{p} %: {v:.1f}" for p, v in zip(percentiles, np.percentile(drift, percentiles))
    )
    print(f"percentiles, in mm, of how far keypoints of {clips * t} frames move: {text}")
    print(f"their median distance from the mean of all frames is {np.median(distances):.1f} mm")
    fraction = np.median(drift) / np.median(distances)
    proof.verdict(fraction < 0.1, f"median drift is {100 * fraction:.1f} % of that, below 10")


def prove_bits(directory: Path) -> None:
    proof.with_dataset(directory)
    runs = [proof.fresh(directory / name) for name in ("bits_one", "bits_other")]
    for run in runs:
        proof.train(run, steps=20, checkpoint_every=10, ema=0.99)
    one, other = (proof.digest(run, 20) for run in runs)
    for part in one:
        proof.verdict(one[part] == other[part], f"{part} of two runs of 20 steps bit-identical")
    same = proof.losses(runs[0]).tolist() == proof.losses(runs[1]).tolist()
    proof.verdict(same, "all their losses the same")
    files = [run / "frames.npz" for run in runs]
    for file in files:  # both of the same checkpoint
        command = [sys.executable, "-m", "maed_jax.cli", "eval", "--checkpoint", str(runs[0])]
        command += ["--data_dir", str(directory / "data"), "--predictions", str(file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, env=proof.environment(), **quiet)
    one, other = (dict(np.load(file)) for file in files)
    same = one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )
    proof.verdict(same, f"two evaluations of {len(one['frame'])} frames bit-identical")


if __name__ == "__main__":
    os.environ.update(JAX_PLATFORMS="cpu")
    parts = {"poses": prove_poses, "bfloat16": prove_bfloat16, "bits": prove_bits}
    proof.run_parts(__doc__.splitlines()[0], "proofs/numerics", parts, people=1_000_000)
