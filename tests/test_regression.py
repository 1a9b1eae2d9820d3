"""The output of decoders, and the initialisation of their layers."""

import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.models import regression


def test_a_vector_is_taken_apart():
    vector = jnp.arange(2.0 * regression.VECTOR_SIZE).reshape(2, regression.VECTOR_SIZE)
    parts = regression.Regression.from_vector(vector)
    assert [part.shape for part in parts] == [(2, 24, 6), (2, 10), (2, 3)]
    assert parts.pose6d[0, 1, 0] == 6 and parts.shape[0, 0] == 144 and parts.camera[0, 0] == 154


def started(layer, inputs):
    """The parameters of a layer before training."""
    return layer.init(jax.random.key(0), jnp.zeros((1, inputs)))["params"]


def test_a_layer_starts_as_pytorchs_does():
    found = started(regression.torch_linear(300, "fc"), 64)
    np.testing.assert_allclose(np.abs(found["kernel"]).max(), 1 / 8, rtol=1e-3)
    np.testing.assert_allclose(np.std(found["kernel"]), 1 / 8 / np.sqrt(3), rtol=0.02)
    assert not found["bias"].any()


def test_a_near_constant_head_answers_nearly_what_it_starts_from():
    start = tuple(float(i) for i in range(100))
    found = started(regression.near_constant_linear(start, "head"), 500)
    np.testing.assert_array_equal(found["bias"], start)
    bound = 0.01 * np.sqrt(6 / (100 + 500))  # Xavier's, with gain 0.01
    np.testing.assert_allclose(np.abs(found["kernel"]).max(), bound, rtol=1e-3)
    np.testing.assert_allclose(np.std(found["kernel"]), bound / np.sqrt(3), rtol=0.02)
