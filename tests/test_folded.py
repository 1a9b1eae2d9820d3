import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.models.decoders import make_decoder
from maed_jax.models.folded import fold
from maed_jax.models.maed import MAED

AFFINE = ("ktd", "ktd_random", "ktd_reverse", "iterative")


@pytest.fixture(scope="module")
def body():
    return keypoint_body(mannequin())


def small(name, body, dim=8):
    decoder = make_decoder(MAED(decoder=name, decoder_width=16, dim=8, heads=2))
    feature = jax.random.normal(jax.random.key(0), (2, 3, dim))
    return decoder, random_params(decoder.init, feature, body, train=False)["params"], feature


@pytest.mark.parametrize("name", AFFINE)
def test_folded_is_the_decoder(name, body):
    """Value, and gradients for the feature and, through the folding, all parameters."""
    decoder, params, feature = small(name, body)
    weigh = jax.random.normal(jax.random.key(1), (2, 3, 157))

    def whole(params, feature):
        vector = decoder.apply({"params": params}, feature, body, train=False).to_vector()
        return (vector * weigh).sum(), vector

    def folded(params, feature):
        vector = fold(decoder, params, 8, body)(feature).to_vector()
        return (vector * weigh).sum(), vector

    results = [
        jax.jit(jax.grad(form, argnums=(0, 1), has_aux=True))(params, feature)
        for form in (whole, folded)
    ]
    for expected, got in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-6 * max(1, np.abs(expected).max()))


def test_the_matrix_has_a_column_for_every_number(body):
    decoder, params, _ = small("ktd", body)
    affine = jax.jit(lambda params: fold(decoder, params, 8))(params)
    assert affine.kernel.shape == (8, 157)
    at_zero = decoder.apply({"params": params}, jnp.zeros(8), train=False)
    np.testing.assert_allclose(affine.bias, at_zero.to_vector(), atol=1e-6)
    np.testing.assert_allclose(affine.bias[-3:], at_zero.camera, atol=1e-6)
