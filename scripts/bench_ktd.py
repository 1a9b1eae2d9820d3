"""Times three forms of KTD at full size, in milliseconds: `python scripts/bench_ktd.py`."""

import time

import jax
import jax.numpy as jnp

from maed_jax.models.folded import fold
from maed_jax.models.ktd import KinematicTopologyDecoder
from maed_jax.models.ktd_levels import pose_by_level
from maed_jax.models.regression import Regression

BATCH, DIM = 128, 768
decoder = KinematicTopologyDecoder()
feature = jax.random.normal(jax.random.key(0), (BATCH, DIM))
params = jax.jit(decoder.init, static_argnames="train")(jax.random.key(1), feature, train=False)[
    "params"
]


def linear(params, name, x):
    return x @ params[name]["kernel"] + params[name]["bias"]


def unrolled(params, feature):
    return decoder.apply({"params": params}, feature, train=False)


def by_level(params, feature):
    x = linear(params, "fc2", linear(params, "fc1", feature))
    pose6d = pose_by_level(params, x, decoder.ancestors)
    return Regression(pose6d, linear(params, "shape", x), linear(params, "camera", x))


def folded(affine, feature):
    return affine(feature)


def milliseconds(function, *args, repeats=100):
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compile_time = time.perf_counter() - start
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times), 1e3 * compile_time


def total(form):
    return lambda *args: sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(form(*args)))


folding = jax.jit(lambda params: fold(decoder, params, DIM))
print(f"folding itself: {milliseconds(folding, params)[0]:.2f}")
for form, weights in ((unrolled, params), (by_level, params), (folded, folding(params))):
    forward, compiling = milliseconds(form, weights, feature)
    both, compiling_both = milliseconds(jax.value_and_grad(total(form), (0, 1)), weights, feature)
    print(
        f"{form.__name__:>9}: forward {forward:6.2f} (compiled in {compiling:.0f}), "
        f"with gradients {both:6.2f} (compiled in {compiling_both:.0f})"
    )
