"""The Transformer's layers are Flax's and JAX's own, in value and gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from maed_jax.models.layers import LayerNorm, dense, full_einsum, gelu, layer_norm

KEYS = jax.random.split(jax.random.key(0), 4)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 3, 4)])
def test_a_linear_layer_is_flaxs_with_its_gradients(leading):
    x = jax.random.normal(jax.random.key(0), (*leading, 5))
    ours, theirs = dense(7, "one"), nn.Dense(7)
    params = theirs.init(jax.random.key(1), x)
    assert jax.tree.map(np.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(np.shape, params)

    (y, pull), (expected, pull_expected) = (
        jax.vjp(layer.apply, params, x) for layer in (ours, theirs)
    )
    np.testing.assert_allclose(y, expected, atol=1e-6)
    dy = jax.random.normal(jax.random.key(2), y.shape)
    for a, b in zip(jax.tree.leaves(pull(dy)), jax.tree.leaves(pull_expected(dy))):
        np.testing.assert_allclose(a, b, atol=1e-5)


A, B = (jax.random.normal(jax.random.key(i), (2, 3, 5)) for i in range(2))


def test_scaling_has_the_gradients_of_a_multiplication():
    rows = B[..., 0]
    expected, pull_expected = jax.vjp(lambda a, rows: a * rows[..., None], A, rows)
    found, pull_found = jax.vjp(lambda a, rows: full_einsum("bnd,bn->bnd", a, rows), A, rows)
    for one, other in zip((found, *pull_found(B)), (expected, *pull_expected(B))):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_einsums_and_their_gradients_are_precise_whatever_the_default_is():
    def total(a, b):
        return full_einsum("bnd,bnd->bn", a, b).sum()

    with jax.default_matmul_precision("bfloat16"):
        text = jax.jit(jax.grad(total, (0, 1))).lower(A, B).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_an_inner_product():
    found = full_einsum("bnd,bnd->bn", A, B)
    np.testing.assert_allclose(found, jnp.sum(A * B, axis=-1), rtol=1e-5)


NUMBERS = np.linspace(-8, 8, 1001)


@pytest.mark.parametrize("dtype,tolerance", [("float32", 1e-6), ("bfloat16", 2**-7)])
def test_gelu_is_the_closed_form(dtype, tolerance):
    x = jnp.asarray(NUMBERS, dtype)
    expected = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in map(float, x)]
    found = gelu(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, tolerance, tolerance)


def test_the_gradient_of_gelu_is_that_of_jaxs_own():
    x, dy = (jnp.asarray(a, jnp.float32) for a in (NUMBERS, np.sin(np.arange(len(NUMBERS)))))
    (found,) = jax.vjp(gelu, x)[1](dy)
    (expected,) = jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)[1](dy)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_gradient_of_gelu_keeps_one_array():
    """In bfloat16, as used in training, where memory is the cost of a block's widest layer."""
    x = jnp.ones((4, 8), jnp.bfloat16)
    kept = jax.tree.leaves(jax.vjp(gelu, x)[1])
    assert [(a.shape, a.dtype) for a in kept] == [(x.shape, x.dtype)]


def test_far_from_zero_gelu_is_finite_with_its_gradient():
    x = jnp.array([-1e30, -100.0, 100.0, 1e30])
    np.testing.assert_allclose(gelu(x), [0, 0, 100, 1e30])
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(x), [0, 0, 1, 1])


X = 3 + 2 * jax.random.normal(KEYS[0], (2, 1, 5, 16))
PARAMS = {
    "scale": 1 + jax.random.normal(KEYS[1], (16,)),
    "bias": jax.random.normal(KEYS[2], (16,)),
}
DY = jax.random.normal(KEYS[3], X.shape)


def normalised(params, x, epsilon=1e-6):
    return layer_norm(x, params["scale"], params["bias"], epsilon)


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_layer_norm_is_flaxs_with_its_gradients(epsilon):
    layer = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False)
    expected, pull_expected = jax.vjp(lambda p, x: layer.apply({"params": p}, x), PARAMS, X)
    found, pull_found = jax.vjp(lambda p, x: normalised(p, x, epsilon), PARAMS, X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(jax.tree.leaves(pull_found(DY)), jax.tree.leaves(pull_expected(DY))):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_statistics_are_float32_whatever_the_tokens_are():
    """257, the mean of the two values, does not exist in bfloat16."""
    x = jnp.tile(jnp.array([256.0, 258.0], jnp.bfloat16), 8)[None]
    found = normalised({"scale": jnp.ones(16), "bias": jnp.zeros(16)}, x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found[0, :2], [-1, 1])


def test_the_gradient_of_layer_norm_keeps_no_more_than_the_tokens():
    x = X.astype(jnp.bfloat16)
    kept = jax.tree.leaves(jax.vjp(normalised, PARAMS, x)[1])
    whole = [a for a in kept if a.size == x.size]
    assert [(a.shape, a.dtype) for a in whole] == [(x.shape, x.dtype)]


def test_equal_values_have_a_finite_gradient():
    x = jnp.full((1, 16), 7.0)
    found, pull = jax.vjp(normalised, PARAMS, x)
    np.testing.assert_allclose(found[0], PARAMS["bias"], atol=1e-6)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(pull(DY[0, 0, :1])))


def test_layer_norm_starts_as_the_identity_after_normalising():
    params = LayerNorm().init(KEYS[0], X)["params"]
    np.testing.assert_array_equal(params["scale"], np.ones(16))
    np.testing.assert_array_equal(params["bias"], np.zeros(16))


@pytest.mark.parametrize("layer, epsilon", [(LayerNorm(), 1e-6), (LayerNorm(epsilon=0.3), 0.3)])
def test_values_whose_variance_is_the_layers_epsilon_come_to_half_of_it(layer, epsilon):
    x = epsilon**0.5 * (-1.0) ** jnp.arange(16)
    y, _ = layer.init_with_output(KEYS[0], x)
    np.testing.assert_allclose(y.var(), 0.5, rtol=1e-4)
