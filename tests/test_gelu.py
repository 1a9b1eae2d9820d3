import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.models.gelu import gelu

X = np.linspace(-8, 8, 1001)


def closed_form(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


@pytest.mark.parametrize("dtype,tolerance", [("float32", 1e-6), ("bfloat16", 2**-7)])
def test_is_the_closed_form(dtype, tolerance):
    x = jnp.asarray(X, dtype)
    wanted = np.array([closed_form(float(v)) for v in x])
    found = gelu(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, tolerance, tolerance)


def test_its_gradient_is_that_of_jaxs_own():
    x, along = jnp.asarray(X, jnp.float32), jnp.sin(jnp.arange(len(X), dtype=jnp.float32))
    (found,) = jax.vjp(gelu, x)[1](along)
    (wanted,) = jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)[1](along)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_its_gradient_keeps_one_array():
    """In bfloat16, as used in training, where memory is the cost of a block's widest layer."""
    x = jnp.ones((4, 8), jnp.bfloat16)
    kept = jax.tree.leaves(jax.vjp(gelu, x)[1])
    assert [(a.shape, a.dtype) for a in kept] == [(x.shape, x.dtype)]


def test_far_from_zero_it_is_finite_with_its_gradient():
    x = jnp.array([-1e30, -100.0, 100.0, 1e30])
    np.testing.assert_allclose(gelu(x), [0, 0, 100, 1e30])
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(x), [0, 0, 1, 1])
