import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from maed_jax.models.layer_norm import LayerNorm, layer_norm

KEYS = jax.random.split(jax.random.key(0), 4)
X = 3 + 2 * jax.random.normal(KEYS[0], (2, 1, 5, 16))
PARAMS = {
    "scale": 1 + jax.random.normal(KEYS[1], (16,)),
    "bias": jax.random.normal(KEYS[2], (16,)),
}
GIVEN = jax.random.normal(KEYS[3], X.shape)


def plain(params, x, epsilon=1e-6):
    layer = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False)
    return layer.apply({"params": params}, x)


def ours(params, x, epsilon=1e-6):
    return layer_norm(x, params["scale"], params["bias"], epsilon)


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_is_flaxs_with_its_gradients(epsilon):
    wanted, pull_wanted = jax.vjp(lambda p, x: plain(p, x, epsilon), PARAMS, X)
    found, pull_found = jax.vjp(lambda p, x: ours(p, x, epsilon), PARAMS, X)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for a, b in zip(jax.tree.leaves(pull_found(GIVEN)), jax.tree.leaves(pull_wanted(GIVEN))):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_its_statistics_are_float32_whatever_the_tokens_are():
    """257, the mean of the two values, does not exist in bfloat16."""
    x = jnp.tile(jnp.array([256.0, 258.0], jnp.bfloat16), 8)[None]
    found = ours({"scale": jnp.ones(16), "bias": jnp.zeros(16)}, x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found[0, :2], [-1, 1])


def test_its_gradient_keeps_no_more_than_the_tokens():
    x = X.astype(jnp.bfloat16)
    kept = jax.tree.leaves(jax.vjp(ours, PARAMS, x)[1])
    whole = [a for a in kept if a.size == x.size]
    assert [(a.shape, a.dtype) for a in whole] == [(x.shape, x.dtype)]


def test_equal_values_have_a_finite_gradient():
    x = jnp.full((1, 16), 7.0)
    found, pull = jax.vjp(ours, PARAMS, x)
    np.testing.assert_allclose(found[0], PARAMS["bias"], atol=1e-6)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(pull(GIVEN[0, 0, :1])))


def test_the_layer_starts_as_flaxs_does():
    ours_, flaxs = LayerNorm(name="norm"), nn.LayerNorm(name="norm")
    for layer in (ours_, flaxs):
        params = layer.init(KEYS[0], X)["params"]
        np.testing.assert_array_equal(params["scale"], np.ones(16))
        np.testing.assert_array_equal(params["bias"], np.zeros(16))


@pytest.mark.parametrize("layer, epsilon", [(LayerNorm(), 1e-6), (LayerNorm(epsilon=0.3), 0.3)])
def test_values_whose_variance_is_the_layers_epsilon_come_to_half_of_it(layer, epsilon):
    x = epsilon**0.5 * (-1.0) ** jnp.arange(16)
    y, _ = layer.init_with_output(KEYS[0], x)
    np.testing.assert_allclose(y.var(), 0.5, rtol=1e-4)
