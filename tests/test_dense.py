import jax
import numpy as np
import pytest
from flax import linen as nn

from maed_jax.models.dense import dense


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 3, 4)])
def test_it_is_flaxs_dense_with_its_gradients(leading):
    x = jax.random.normal(jax.random.key(0), (*leading, 5))
    ours, theirs = dense(7, "one"), nn.Dense(7)
    params = theirs.init(jax.random.key(1), x)
    assert jax.tree.map(np.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(np.shape, params)

    (y, pull), (expected, pull_expected) = (
        jax.vjp(layer.apply, params, x) for layer in (ours, theirs)
    )
    np.testing.assert_allclose(y, expected, atol=1e-6)
    cotangent = jax.random.normal(jax.random.key(2), y.shape)
    for a, b in zip(jax.tree.leaves(pull(cotangent)), jax.tree.leaves(pull_expected(cotangent))):
        np.testing.assert_allclose(a, b, atol=1e-5)
