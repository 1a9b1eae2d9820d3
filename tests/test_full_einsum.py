import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.models.full_einsum import full_einsum

X, Y = (jax.random.normal(jax.random.key(i), (2, 3, 5)) for i in range(2))


def test_scaling_has_the_gradients_of_a_multiplication():
    rows = Y[..., 0]
    wanted, pull_wanted = jax.vjp(lambda x, rows: x * rows[..., None], X, rows)
    found, pull_found = jax.vjp(lambda x, rows: full_einsum("bnd,bn->bnd", x, rows), X, rows)
    for a, b in zip((found, *pull_found(Y)), (wanted, *pull_wanted(Y))):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_it_and_its_gradient_are_precise_whatever_the_default_is():
    def total(x, y):
        return full_einsum("bnd,bnd->bn", x, y).sum()

    with jax.default_matmul_precision("bfloat16"):
        text = jax.jit(jax.grad(total, (0, 1))).lower(X, Y).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_an_inner_product():
    found = full_einsum("bnd,bnd->bn", X, Y)
    np.testing.assert_allclose(found, jnp.sum(X * Y, axis=-1), rtol=1e-5)
