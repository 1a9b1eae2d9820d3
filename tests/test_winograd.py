"""Winograd's convolution against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.models import winograd


def by_xla(x, kernel, precision="highest"):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
    )


def drawn(h, w, channels=(4, 5)):
    x, kernel = (jax.random.key(i) for i in range(2))
    x = jax.random.normal(x, (2, h, w, channels[0]))
    return x, jax.random.normal(kernel, (3, 3, *channels))


@pytest.mark.parametrize("h, w", [(1, 1), (1, 4), (2, 2), (3, 8), (7, 5), (8, 6)])
def test_it_is_the_convolution(h, w):
    x, kernel = drawn(h, w)
    found = winograd.convolve(x, kernel)
    np.testing.assert_allclose(found, by_xla(x, kernel), rtol=1e-5, atol=1e-5)


def test_each_tap_lands_where_it_should():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
    kernel = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
    found = winograd.convolve(x, kernel)[0, 1:4, 1:4, 0]
    np.testing.assert_allclose(found, kernel[::-1, ::-1, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("channels", [64, 256])
def test_rounding_is_about_that_of_xlas(channels):
    """Compares both in float32 with float64."""
    x, kernel = drawn(14, 14, (channels, channels))
    with jax.enable_x64():
        exact = np.asarray(by_xla(x.astype(jnp.float64), kernel.astype(jnp.float64)))
    error = lambda y: np.sqrt(np.mean((np.asarray(y) - exact) ** 2))  # noqa: E731
    assert error(winograd.convolve(x, kernel)) < 1.5 * error(by_xla(x, kernel))
    assert error(winograd.convolve(x, kernel)) < 1e-6 * np.abs(exact).max()


def test_it_multiplies_less():
    x, kernel = drawn(16, 16, (32, 32))
    operations = [
        jax.jit(f).lower(x, kernel).cost_analysis()["flops"] for f in (winograd.convolve, by_xla)
    ]
    assert operations[0] < operations[1] / 1.5
