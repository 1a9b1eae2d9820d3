import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange
from random_params import random_params

from maed_jax.models import attention as A

B, T, HEADS, N, DH = 2, 3, 2, 5, 4
over_space, over_time, over_space_time = (
    functools.partial(over, return_weights=True)
    for over in (A.over_space, A.over_time, A.over_space_time)
)


@pytest.fixture(scope="module")
def qkv():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (B, T, HEADS, N, DH)) for key in keys]


def one_query(q, k, v):
    """Reference: attention of one query [dh] over keys and values [m dh]."""
    scores = np.exp(k @ q / np.sqrt(DH))
    return (scores / scores.sum()) @ v


def test_each_attention_reads_what_it_says(qkv):
    q, k, v = (np.asarray(a) for a in qkv)
    b, t, h, n = 1, 2, 1, 3
    query = q[b, t, h, n]
    space = one_query(query, k[b, t, h], v[b, t, h])
    time = one_query(query, k[b, :, h, n], v[b, :, h, n])
    both = one_query(query, k[b, :, h].reshape(-1, DH), v[b, :, h].reshape(-1, DH))
    np.testing.assert_allclose(over_space(*qkv)[0][b, t, h, n], space, rtol=1e-5)
    np.testing.assert_allclose(over_time(*qkv)[0][b, t, h, n], time, rtol=1e-5)
    np.testing.assert_allclose(over_space_time(*qkv)[0][b, t, h, n], both, rtol=1e-5)


def test_it_is_softmax_attention_with_its_gradients(qkv):
    def by_softmax(q, k, v):
        weights = jax.nn.softmax(jnp.einsum("...qd,...kd->...qk", q, k) / np.sqrt(DH))
        return jnp.einsum("...qk,...kd->...qd", weights, v), weights

    expected, pull_expected = jax.vjp(by_softmax, *qkv)
    found, pull_found = jax.vjp(A.softmax_attention, *qkv)
    dy = jax.tree.map(jnp.cos, expected)
    for a, b in zip((*found, *pull_found(dy)), (*expected, *pull_expected(dy))):
        np.testing.assert_allclose(a, b, atol=2e-6)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA's kernels for CPUs")
def test_no_matmul_of_the_gradient_has_a_transposed_left_operand(qkv):
    def gradients(parts):
        y, pull = jax.vjp(lambda *parts: A.softmax_attention(*parts)[0], *parts)
        return pull(jnp.cos(y))

    program = jax.jit(gradients).lower(qkv).compile().as_text()
    contracted = re.findall(r"dot\(.*lhs_contracting_dims={(\d)}", program)
    assert len(contracted) >= 6  # two forward, and two for each of their gradients
    assert min(contracted) == max(contracted)  # the last axis


def test_scores_of_bfloat16_are_not_rounded():
    """If they were, large ones would be off by a percent or more before the softmax."""
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(key, (4, 16, 64)).astype(jnp.bfloat16) for key in keys)
    q *= 3
    expected, _ = A.softmax_attention(*(a.astype(jnp.float32) for a in (q, k, v)))
    found, weights = A.softmax_attention(q, k, v)
    assert found.dtype == weights.dtype == jnp.bfloat16
    assert jnp.linalg.norm(found - expected) < 0.0035 * jnp.linalg.norm(expected)


def test_gradients_of_bfloat16_are_those_of_float32_but_for_its_rounding(qkv):
    half = [a.astype(jnp.bfloat16) for a in qkv]
    exact = [a.astype(jnp.float32) for a in half]
    along = jax.random.normal(jax.random.key(8), qkv[0].shape)

    def gradients(parts):
        y, pull = jax.vjp(lambda *parts: A.softmax_attention(*parts)[0], *parts)
        return pull(along.astype(y.dtype))

    program = str(jax.make_jaxpr(gradients)(half))
    assert len(re.findall(r":f32\[[\d,]*\] = dot_general", program)) == 1  # only the scores
    for ours, expected in zip(gradients(half), gradients(exact)):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), expected, atol=0.03)


def test_padding_is_not_read(qkv):
    q, k, v = qkv
    expected, _ = A.softmax_attention(q, k[..., :3, :], v[..., :3, :])
    np.testing.assert_array_equal(A.attention(q, k, v, 3)[0], expected)


def test_large_scores_are_finite(qkv):
    q, k, v = qkv
    y, weights = A.softmax_attention(1e3 * q, k, v)
    assert jnp.isfinite(y).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("queries", [1, N])
def test_the_answer_is_the_values_by_the_weights(queries, qkv):
    q, k, v = qkv
    q = q[..., :queries, :]
    for over, product in (
        (over_space, "bthqn,bthnd->bthqd"),
        (over_time, "bnhst,bthnd->bshnd"),
        (over_space_time, "bhsqtn,bthnd->bshqd"),
    ):
        y, weights = over(q, k, v)
        values = v[..., :queries, :] if over is over_time else v
        np.testing.assert_allclose(jnp.einsum(product, weights, values), y, atol=1e-5)
        np.testing.assert_allclose(y, over(*qkv)[0][..., :queries, :], atol=1e-6)


def test_an_image_bypasses_time(qkv):
    q, k, v = (a[:, :1] for a in qkv)
    y, weights = over_time(q, k, v)
    np.testing.assert_array_equal(y, v)
    np.testing.assert_array_equal(weights, np.ones((B, N, HEADS, 1, 1)))


def tokens(t=T, seed=1):
    return jax.random.normal(jax.random.key(seed), (B, t, N, HEADS * DH))


@functools.cache
def layer(mode):
    module = A.SpatialTemporalAttention(HEADS, mode)
    return jax.jit(module.apply), random_params(module.init, tokens())


@pytest.mark.parametrize("mode", ["parallel", "parallel_v1", "series", "coupling", "vanilla"])
def test_permuting_the_tokens_permutes_the_answer(mode):
    apply, params = layer(mode)
    x, order = tokens(), jnp.array([3, 1, 4, 0, 2])
    expected = apply(params, x)[:, :, order]
    np.testing.assert_allclose(apply(params, x[:, :, order]), expected, atol=1e-6)


@pytest.mark.parametrize("mode", A.MODES)
def test_permuting_the_frames_permutes_the_answer(mode):
    """Only the temporal embedding tells the order of frames."""
    apply, params = layer(mode)
    x, order = tokens(), jnp.array([2, 0, 1])
    expected = apply(params, x)[:, order]
    np.testing.assert_allclose(apply(params, x[:, order]), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["parallel", "parallel_v1", "series", "coupling", "temporal"])
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
    for mode in A.MODES:
        apply, params = layer(mode)
        x = tokens()
        np.testing.assert_allclose(apply(params, x)[:1], apply(params, x[:1]), atol=1e-6)


def test_parallel_v1_is_v2_with_its_gate_forced_to_one_half():
    apply_v1, params = layer("parallel_v1")
    assert "gate" not in params["params"]
    apply_v2, with_gate = layer("parallel")
    gate = jax.tree.map(jnp.zeros_like, with_gate["params"]["gate"])
    expected = apply_v2({"params": params["params"] | {"gate": gate}}, tokens())
    np.testing.assert_allclose(apply_v1(params, tokens()), expected, atol=1e-6)


def test_parallel_v1_is_the_mean_of_the_branches():
    apply, params = layer("parallel_v1")
    p = params["params"]
    qkv = tokens() @ p["qkv"]["kernel"] + p["qkv"]["bias"]
    qkv = rearrange(qkv, "b t n (three h dh) -> three b t h n dh", three=3, h=HEADS)
    mean = (over_space(*qkv)[0] + over_time(*qkv)[0]) / 2
    expected = A.merge_heads(mean) @ p["proj"]["kernel"] + p["proj"]["bias"]
    np.testing.assert_allclose(apply(params, tokens()), expected, atol=1e-5)


@pytest.mark.parametrize("mode", A.MODES)
def test_the_first_tokens_alone_get_the_same_answers(mode):
    apply, params = layer(mode)
    few = jax.jit(A.SpatialTemporalAttention(HEADS, mode).apply, static_argnums=2)
    expected = apply(params, tokens())[:, :, :2]
    np.testing.assert_allclose(few(params, tokens(), 2), expected, atol=1e-6)


def test_gates_are_weights_of_time_and_come_on_request():
    module = A.SpatialTemporalAttention(HEADS, "parallel")
    _, params = layer("parallel")
    gate = params["params"]["gate"]
    logits = jnp.tile(jnp.array([0.0, jnp.log(3.0)]), HEADS * DH)  # space and time alternate
    gate |= {"kernel": jnp.zeros_like(gate["kernel"]), "bias": logits}
    _, state = module.apply(params, tokens(), mutable="intermediates")
    (gates,) = state["intermediates"]["gates"]
    assert gates.shape == (B, T, HEADS * DH)
    np.testing.assert_allclose(gates, 0.75, rtol=1e-6)
