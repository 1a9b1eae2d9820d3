import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.errors import UserError
from maed_jax.models.decoders import fold_decoder, make_decoder
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


SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1,), width=8, dim=16, depth=1, heads=2,
    feature_dim=12, decoder_width=16,
)  # fmt: skip


@pytest.mark.parametrize("name", ["ktd", "iterative"])
def test_a_model_with_its_decoder_folded(name, body):
    model = MAED(**SMALL, decoder=name)
    clip = jax.random.normal(jax.random.key(0), (1, 2, 32, 32, 3))
    params = random_params(model.init, clip, body, method="regress")["params"]
    folded, folded_params = fold_decoder(model, params, body)
    assert set(folded_params["decoder"]) == {"kernel", "bias"}
    assert folded_params["encoder"] is params["encoder"] and "fc1" in params["decoder"]

    @functools.partial(jax.jit, static_argnums=0)
    def vector(model, params):
        return model.apply({"params": params}, clip, body, method="regress")[1].to_vector()

    expected, got = vector(model, params), vector(folded, folded_params)
    np.testing.assert_allclose(got, expected, atol=2e-6 * np.abs(expected).max())
    assert fold_decoder(folded, folded_params, body) == (folded, folded_params)


def test_the_vanilla_decoder_stays_as_it_is():
    model, params = MAED(**SMALL, decoder="vanilla"), {"decoder": {}, "encoder": {}}
    assert fold_decoder(model, params) == (model, params)


def test_folding_needs_the_mean_of_the_iterative_decoder(body):
    _, params, _ = small("iterative", body)
    with pytest.raises(UserError, match="mean parameters"):
        fold_decoder(MAED(**SMALL, decoder="iterative"), {"decoder": params})
