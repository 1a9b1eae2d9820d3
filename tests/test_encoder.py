import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.errors import UserError
from maed_jax.models.attention import MODES
from maed_jax.models.encoder import (
    Block,
    SpatialTemporalEncoder,
    TemporalEncoder,
    attention_weights,
)

SMALL = dict(
    clip_length=4, stage_sizes=(1, 1), width=8, dim=16, depth=2, heads=2, feature_dim=12,
)  # fmt: skip


def clip(b=2, t=3, seed=0):
    return jax.random.normal(jax.random.key(seed), (b, t, 32, 32, 3))


@functools.cache
def encoder(mode="parallel"):
    module = SpatialTemporalEncoder(**SMALL, mode=mode)
    return jax.jit(module.apply), random_params(module.init, clip())


@pytest.mark.parametrize("mode", MODES)
def test_one_feature_for_every_frame(mode):
    apply, params = encoder(mode)
    feature = apply(params, clip())
    assert feature.shape == (2, 3, 12)
    assert jnp.abs(feature).max() <= 1  # after a tanh
    has_time = "time_embedding" in params["params"]
    assert has_time == (mode not in ("vanilla", "temporal"))


def test_an_image_is_a_clip_of_one_frame():
    apply, params = encoder("vanilla")
    x = clip()
    one_by_one = jnp.concatenate([apply(params, x[:, i : i + 1]) for i in range(3)], axis=1)
    np.testing.assert_allclose(apply(params, x), one_by_one, atol=1e-5)


def test_a_clip_may_be_shorter_than_the_embedding_but_not_longer():
    apply, params = encoder()
    assert apply(params, clip(t=1)).shape == (2, 1, 12)
    with pytest.raises(UserError, match="5 frames is longer than the 4"):
        apply(params, clip(t=5))


def test_order_of_frames_matters():
    apply, params = encoder()
    x = clip()
    forward, backward = apply(params, x), apply(params, x[:, ::-1])[:, ::-1]
    assert jnp.abs(forward - backward).max() > 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_the_last_block_answers_for_the_read_token_as_if_for_all(mode):
    """Values and gradients; with intermediates requested, the last block computes all tokens."""
    module = SpatialTemporalEncoder(**SMALL | {"stage_sizes": ()}, mode=mode)
    params = random_params(module.init, clip())

    def all_tokens(params, x):
        return module.apply(params, x, mutable="intermediates", capture_intermediates=True)

    seen = jax.eval_shape(all_tokens, params, clip())[1]["intermediates"]["block1"]["__call__"]
    assert seen[0].shape == (2, 3, 1 + 8 * 8, 16)

    def value(apply, params, x):
        feature = apply(params, x)
        return jnp.sum(feature**3), feature

    grad = jax.grad(value, argnums=(1, 2), has_aux=True)
    expected = jax.jit(lambda *a: grad(lambda *b: all_tokens(*b)[0], *a))(params, clip())
    got = jax.jit(lambda *a: grad(module.apply, *a))(params, clip())
    for e, g in zip(jax.tree.leaves(expected), jax.tree.leaves(got)):
        np.testing.assert_allclose(g, e, atol=1e-5 * max(1.0, np.abs(e).max()))


@pytest.mark.parametrize("mode", MODES)
def test_the_last_block_costs_less_than_the_one_before(mode):
    module = Block(4, mode)
    x = jax.random.normal(jax.random.key(0), (2, 3, 17, 64))
    params = random_params(module.init, x)

    def flops(queries):
        compiled = jax.jit(lambda p, x: module.apply(p, x, queries)).lower(params, x).compile()
        return compiled.cost_analysis()["flops"]

    assert flops(1) < 0.6 * flops(None)


def test_places_start_as_large_as_what_is_at_them():
    """If much smaller, attention could not distinguish them at first."""
    module = SpatialTemporalEncoder(**SMALL, mode="parallel")
    variables = module.init(jax.random.key(0), clip())
    _, seen = module.apply(
        variables,
        clip(),
        capture_intermediates=lambda layer, _: layer.name == "embedding",
        mutable=["intermediates"],
    )
    content = seen["intermediates"]["embedding"]["__call__"][0]
    ratio = variables["params"]["space_embedding"].std() / content.std()
    assert 1 / 3 < ratio < 3


def test_weights_are_in_the_order_of_the_blocks_and_none_without_attention():
    blocks = {f"block{i}": {"attention": {"gates": (i,)}} for i in reversed(range(11))}
    found = attention_weights({"intermediates": {"encoder": blocks}})
    assert found == [{"gates": i} for i in range(11)]
    assert (
        attention_weights({})
        == attention_weights({"intermediates": {"encoder": {"root": {}}}})
        == []
    )


@pytest.fixture(scope="module")
def temporal():
    module = TemporalEncoder(**SMALL)
    return jax.jit(module.apply), random_params(module.init, clip())


def test_te_has_one_token_a_frame(temporal):
    apply, params = temporal
    assert apply(params, clip()).shape == (2, 3, 12)
    names = {"root", "embedding", "time_embedding", "block0", "block1", "norm", "pre_logits"}
    assert set(params["params"]) == names
    assert set(params["params"]["block0"]["attention"]) == {"qkv", "proj"}
    _, state = jax.eval_shape(
        lambda p, x: TemporalEncoder(**SMALL).apply(p, x, mutable="intermediates"), params, clip()
    )
    (weights,) = state["intermediates"]["block0"]["attention"]["time"]
    assert weights.shape == (2, 1, 2, 3, 3)  # b n heads t t


def test_frames_of_te_see_one_another_and_know_their_order(temporal):
    apply, params = temporal
    x = clip()
    feature = apply(params, x)
    assert jnp.abs(feature - apply(params, x.at[:, 0].add(1.0)))[:, 2].max() > 1e-4
    assert jnp.abs(feature - apply(params, x[:, ::-1])[:, ::-1]).max() > 1e-4
    without = {"params": params["params"] | {"time_embedding": jnp.zeros((1, 4, 1, 16))}}
    forward, backward = apply(without, x), apply(without, x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(forward, backward, atol=1e-5)


def test_an_image_of_te_meets_only_its_own_values(temporal):
    """With a single frame, queries and keys do not matter."""
    apply, params = temporal
    changed = jax.tree.map(lambda p: p, params)
    for block in ("block0", "block1"):
        qkv = changed["params"][block]["attention"]["qkv"]
        qkv["kernel"] = jnp.asarray(qkv["kernel"]).at[:, :32].add(1.0)
    x = clip(t=1)
    np.testing.assert_allclose(apply(params, x), apply(changed, x), atol=1e-6)
    assert jnp.abs(apply(params, clip()) - apply(changed, clip())).max() > 1e-4
