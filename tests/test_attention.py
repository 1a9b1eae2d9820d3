import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange
from random_params import random_params

from maed_jax.models import attention as A

B, T, HEADS, N, DH = 2, 3, 2, 5, 4


@pytest.fixture(scope="module")
def qkv():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (B, T, HEADS, N, DH)) for key in keys]


def one_query(q, k, v):
    """Attention of one query [dh] over keys and values [m dh], written out."""
    scores = np.exp(k @ q / np.sqrt(DH))
    return (scores / scores.sum()) @ v


def test_each_attention_reads_what_it_says(qkv):
    q, k, v = (np.asarray(a) for a in qkv)
    b, t, h, n = 1, 2, 1, 3
    query = q[b, t, h, n]
    space = one_query(query, k[b, t, h], v[b, t, h])
    time = one_query(query, k[b, :, h, n], v[b, :, h, n])
    both = one_query(query, k[b, :, h].reshape(-1, DH), v[b, :, h].reshape(-1, DH))
    np.testing.assert_allclose(A.over_space(*qkv)[b, t, h, n], space, rtol=1e-5)
    np.testing.assert_allclose(A.over_time(*qkv)[b, t, h, n], time, rtol=1e-5)
    np.testing.assert_allclose(A.over_space_time(*qkv)[b, t, h, n], both, rtol=1e-5)


def test_an_image_bypasses_time(qkv):
    q, k, v = (a[:, :1] for a in qkv)
    np.testing.assert_array_equal(A.over_time(q, k, v), v)


def tokens(t=T, seed=1):
    return jax.random.normal(jax.random.key(seed), (B, t, N, HEADS * DH))


def layer(mode):
    module = A.SpatialTemporalAttention(HEADS, mode)
    return jax.jit(module.apply), random_params(module.init, tokens())


@pytest.mark.parametrize("mode", ["parallel", "series", "coupling", "vanilla"])
def test_permuting_the_tokens_permutes_the_answer(mode):
    apply, params = layer(mode)
    x, order = tokens(), jnp.array([3, 1, 4, 0, 2])
    expected = apply(params, x)[:, :, order]
    np.testing.assert_allclose(apply(params, x[:, :, order]), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["parallel", "series", "coupling", "temporal"])
def test_frames_see_one_another(mode):
    apply, params = layer(mode)
    x = tokens()
    y = x.at[:, 0].add(1.0)
    change = apply(params, x) - apply(params, y)
    assert jnp.abs(change[:, -1]).max() > 1e-3


def test_spatial_mode_keeps_frames_apart():
    apply, params = layer("vanilla")
    x = tokens()
    y = x.at[:, 0].add(jax.random.normal(jax.random.key(3), x[:, 0].shape))
    np.testing.assert_array_equal(apply(params, x)[:, 1:], apply(params, y)[:, 1:])


def test_clips_never_see_one_another():
    for mode in ("parallel", "series", "coupling", "vanilla", "temporal"):
        apply, params = layer(mode)
        x = tokens()
        np.testing.assert_allclose(apply(params, x)[:1], apply(params, x[:1]), atol=1e-6)


def test_gate_forced_to_one_half_is_the_mean_of_the_branches():
    apply, params = layer("parallel")
    params["params"]["gate"] = jax.tree.map(jnp.zeros_like, params["params"]["gate"])
    x = tokens()
    p = params["params"]
    qkv = x @ p["qkv"]["kernel"] + p["qkv"]["bias"]
    q, k, v = rearrange(qkv, "b t n (three h dh) -> three b t h n dh", three=3, h=HEADS)
    mean = (A.over_space(q, k, v) + A.over_time(q, k, v)) / 2
    expected = A.merge_heads(mean) @ p["proj"]["kernel"] + p["proj"]["bias"]
    np.testing.assert_allclose(apply(params, x), expected, atol=1e-5)


def test_gate_weights_sum_to_one_and_come_on_request():
    module = A.SpatialTemporalAttention(HEADS, "parallel")
    _, params = layer("parallel")
    _, state = module.apply(params, tokens(), mutable="intermediates")
    (gate,) = state["intermediates"]["gate_weights"]
    assert gate.shape == (B, T, 1, HEADS * DH, 2)
    np.testing.assert_allclose(gate.sum(-1), 1.0, rtol=1e-6)
