"""Compares the paper's network on this device with the original's outputs, in each precision.

    python scripts/prove_accelerator.py [forward] [gradients] [attention]

forward    keypoints, vertices and angles of eight frames.
gradients  of the loss with respect to the parameters, three frames.
attention  cuDNN's, in bfloat16, with one padding token: output and gradients compared with plain
           matmuls in float32. Only on a GPU that has it.

Precisions: full float32 matmuls ("highest"); JAX's default for float32, which is TF32 on recent
GPUs and bfloat16 on TPUs; and an encoder in bfloat16. The first must meet the tolerances of the
tests; for the others, the error is reported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import proof

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

import parity_rules as rules  # noqa: E402

from maed_jax.body.files import load_body  # noqa: E402
from maed_jax.models import flash  # noqa: E402
from maed_jax.models.attention import softmax_attention  # noqa: E402
from maed_jax.models.maed import MAED  # noqa: E402
from maed_jax.weights.layouts import torch_name  # noqa: E402
from maed_jax.weights.original import convert_original  # noqa: E402

VARIANT = "ste_parallel_ktd"
PRECISIONS = (
    ("float32, highest", "float32", "highest"),
    ("float32, default", "float32", "default"),
    ("bfloat16", "bfloat16", "default"),
)


def variables() -> dict:
    shapes = json.loads((TESTS / "golden" / "state_dict_shapes.json").read_text())[VARIANT]
    state = {name: rules.weight(name, tuple(shape)) for name, shape in shapes.items()}
    return jax.tree.map(jnp.asarray, convert_original(state, MAED())[0])


def clip(name: str, b: int, t: int) -> jax.Array:
    return jnp.asarray(rules.clip(name, b, t).transpose(0, 1, 3, 4, 2))


def off(ours: jax.Array, theirs: np.ndarray) -> float:
    """Returns the largest difference, relative to the largest value."""
    return float(np.abs(np.asarray(ours, np.float64) - theirs).max() / np.abs(theirs).max())


def prove_forward(_: Path) -> None:
    golden = np.load(TESTS / "golden" / f"model_{VARIANT}.npz")
    weights, body, frames = variables(), load_body(rules.smpl_files()), clip(VARIANT, 2, 4)
    for name, dtype, precision in PRECISIONS:
        with jax.default_matmul_precision(precision):
            apply = jax.jit(lambda w, c, b, d=dtype: MAED(dtype=d).apply(w, c, b, vertices=True))
            p = apply(weights, frames, body)
        found = {
            "feature": off(p.feature.reshape(8, -1), golden["tap_feature"]),
            "rotmat": off(p.rotmat, golden["rotmat"]),
            "keypoints_3d": off(p.keypoints_3d, golden["kp_3d"]),
            "verts": off(p.verts[:, :, ::53], golden["verts"]),
        }
        moved = 1000 * np.linalg.norm(np.asarray(p.keypoints_3d) - golden["kp_3d"], axis=-1)
        listed = ", ".join(f"{key} {value:.1e}" for key, value in found.items())
        print(f"{name}: {listed}; keypoints {moved.mean():.3g} mm, at most {moved.max():.3g}")
        if precision == "highest":
            proof.verdict(max(found.values()) < 1e-4, f"{name}: all within 1e-4 of the maximum")


def prove_gradients(_: Path) -> None:
    golden = np.load(TESTS / "golden" / f"gradients_{VARIANT}.npz")
    weights, body, frames = variables(), load_body(rules.smpl_files()), clip("grad", 1, 3)
    norms = dict(zip(golden["names"].tolist(), golden["norms"]))

    def target(name: str, value: jax.Array) -> jax.Array:
        return (value - rules.normal(f"grad/target/{name}", value.shape)) ** 2

    for name, dtype, precision in PRECISIONS:

        def scalar(params, dtype=dtype):
            p = MAED(dtype=dtype).apply({"params": params}, frames, body, vertices=True)
            named = {"kp_3d": p.keypoints_3d, "rotmat": p.rotmat, "verts": p.verts}
            return sum(target(k, v).mean() for k, v in named.items()) + (p.shape**2).mean()

        with jax.default_matmul_precision(precision):
            gradient = jax.jit(jax.grad(scalar))(weights["params"])
        after, within = [], []
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            path = tuple(key.key for key in path)
            key = torch_name(path)
            error = abs(float(jnp.linalg.norm(leaf)) - norms[key]) / (norms[key] + 1e-4)
            (within if ".backbone." in key else after).append(error)
        print(f"{name}: norms off by {max(after):.1e} after the root, {max(within):.1e} within it")
        if precision == "highest":
            proof.verdict(max(after) < 1e-3 and max(within) < 1e-2, f"{name}: within 1e-3 and 1e-2")


def prove_attention(_: Path) -> None:
    if not flash.has_kernel():
        print("skipped: there is no GPU for which cuDNN has this attention")
        return
    tokens, shape = 197, (2, 3, 12, 198, 64)
    padding = jnp.arange(shape[-2])[:, None] >= tokens
    keys = jax.random.split(jax.random.key(0), 4)
    *qkv, along = (jax.random.normal(key, shape, jnp.bfloat16) for key in keys)
    qkv = [jnp.where(padding, 30, a).astype(a.dtype) for a in qkv]  # padding would show if read

    def answer_and_gradients(form, dtype):
        inputs = [a.astype(dtype) for a in qkv]
        y, pull = jax.vjp(lambda *a: form(*a)[..., :tokens, :], *inputs)
        return y, *(a[..., :tokens, :] for a in pull(along[..., :tokens, :].astype(dtype)))

    def plain(*parts):
        return softmax_attention(*(a[..., :tokens, :] for a in parts))[0]

    fused = answer_and_gradients(lambda *a: flash.flash_attention(*a, tokens), jnp.bfloat16)
    with jax.default_matmul_precision("highest"):
        expected = answer_and_gradients(plain, jnp.float32)
    found = [off(one, np.asarray(other)) for one, other in zip(fused, expected)]
    print("output and gradients off by " + ", ".join(f"{value:.1e}" for value in found))
    proof.verdict(max(found) < 0.02, "cuDNN's attention: all within 2e-2 of the maximum")


if __name__ == "__main__":
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    parts = {
        "forward": prove_forward,
        "gradients": prove_gradients,
        "attention": prove_attention,
    }
    proof.run_parts(__doc__.splitlines()[0], "proofs/accelerator", parts)
