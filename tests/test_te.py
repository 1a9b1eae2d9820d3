import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.models.te import TemporalEncoder

SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1,), width=8, dim=16, depth=2, heads=2,
    feature_dim=12,
)  # fmt: skip


def clip(b=2, t=3):
    return jax.random.normal(jax.random.key(0), (b, t, 32, 32, 3))


@pytest.fixture(scope="module")
def params():
    return random_params(TemporalEncoder(**SMALL).init, clip())


@pytest.fixture(scope="module")
def apply():
    return jax.jit(TemporalEncoder(**SMALL).apply)


def test_one_token_a_frame(apply, params):
    assert apply(params, clip()).shape == (2, 3, 12)
    names = {"root", "embedding", "time_embedding", "block0", "block1", "norm", "pre_logits"}
    assert set(params["params"]) == names
    assert set(params["params"]["block0"]["attention"]) == {"qkv", "proj"}
    _, state = jax.eval_shape(
        lambda p, x: TemporalEncoder(**SMALL).apply(p, x, mutable="intermediates"), params, clip()
    )
    (weights,) = state["intermediates"]["block0"]["attention"]["time"]
    assert weights.shape == (2, 1, 2, 3, 3)  # b n heads t t


def test_frames_see_one_another_and_know_their_order(apply, params):
    x = clip()
    feature = apply(params, x)
    assert jnp.abs(feature - apply(params, x.at[:, 0].add(1.0)))[:, 2].max() > 1e-4
    assert jnp.abs(feature - apply(params, x[:, ::-1])[:, ::-1]).max() > 1e-4
    without = {"params": params["params"] | {"time_embedding": jnp.zeros((1, 4, 1, 16))}}
    forward, backward = apply(without, x), apply(without, x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(forward, backward, atol=1e-5)


def test_an_image_meets_only_its_own_values(apply, params):
    """With a single frame, queries and keys do not matter."""
    changed = jax.tree.map(lambda p: p, params)
    for block in ("block0", "block1"):
        qkv = changed["params"][block]["attention"]["qkv"]
        qkv["kernel"] = jnp.asarray(qkv["kernel"]).at[:, :32].add(1.0)
    x = clip(t=1)
    np.testing.assert_allclose(apply(params, x), apply(changed, x), atol=1e-6)
    assert jnp.abs(apply(params, clip()) - apply(changed, clip())).max() > 1e-4
