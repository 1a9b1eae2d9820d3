import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.errors import UserError
from maed_jax.models.decoders import FoldedDecoder, make_decoder
from maed_jax.models.folding import fold, fold_constants, fold_decoder
from maed_jax.models.maed import MAED
from maed_jax.models.resnet import standardise

SMALL = dict(
    image_size=32, clip_length=4, width=8, dim=16, depth=1, heads=2, feature_dim=12,
    decoder_width=16,
)  # fmt: skip
AFFINE = ("ktd", "ktd_random", "ktd_reverse", "iterative")


@pytest.fixture(scope="module")
def body():
    return keypoint_body(mannequin())


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("ste", "ktd"), ("te", "iterative"), ("cnn", "ktd")]
)
def test_answers_stay(encoder, decoder, body):
    stages = (1, 1, 1, 1) if encoder == "cnn" else (2,)
    model = MAED(**SMALL, stage_sizes=stages, encoder=encoder, decoder=decoder)
    clip = jax.random.normal(jax.random.key(0), (1, 2, 32, 32, 3))
    variables = random_params(model.init, clip, body, method="regress")

    @functools.partial(jax.jit, static_argnums=0)
    def vector(model, variables):
        return model.apply(variables, clip, body, method="regress")[1].to_vector()

    expected = vector(model, variables)
    folded = fold_constants(model, variables, body)
    np.testing.assert_allclose(vector(*folded), expected, atol=2e-6 * np.abs(expected).max())


def test_nothing_is_left_to_standardise_and_the_original_stays():
    model = MAED(**SMALL, stage_sizes=(2,))
    clip = jax.ShapeDtypeStruct((1, 1, 32, 32, 3), np.float32)
    variables = random_params(model.init, clip, None, method="regress")
    again, folded = fold_constants(*fold_constants(model, variables, None), None)
    assert again.decoder == "folded"
    root = folded["params"]["encoder"]["root"]
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(root)}
    assert names == {"standardised", "scale", "bias"}
    kernel = variables["params"]["encoder"]["root"]["conv_root"]["kernel"]
    np.testing.assert_allclose(root["conv_root"]["standardised"], standardise(kernel), atol=1e-6)


@pytest.mark.parametrize("name", ["ktd", "iterative"])
def test_a_model_with_its_decoder_folded(name, body):
    model = MAED(**SMALL, stage_sizes=(1,), decoder=name)
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
    same, copy = fold_decoder(model, params, None)
    assert (same, copy) == (model, params) and copy is not params  # callers may modify the copy


def test_folding_needs_the_mean_of_the_iterative_decoder(body):
    model = MAED(**SMALL, stage_sizes=(1,), decoder="iterative")
    clip = jax.ShapeDtypeStruct((1, 1, 32, 32, 3), np.float32)
    params = random_params(model.init, clip, body, method="regress")["params"]
    with pytest.raises(UserError, match="mean parameters"):
        fold_decoder(model, params, None)


def decoder_alone(name, body, dim=8):
    decoder = make_decoder(MAED(decoder=name, decoder_width=16, dim=8, heads=2))
    feature = jax.random.normal(jax.random.key(0), (2, 3, dim))
    return decoder, random_params(decoder.init, feature, body, train=False)["params"], feature


@pytest.mark.parametrize("name", AFFINE)
def test_folded_is_the_decoder(name, body):
    """Values, and gradients for the feature and, through the folding, for all parameters."""
    decoder, params, feature = decoder_alone(name, body)
    weigh = jax.random.normal(jax.random.key(1), (2, 3, 157))

    def whole(params, feature):
        vector = decoder.apply({"params": params}, feature, body, train=False).to_vector()
        return (vector * weigh).sum(), vector

    def folded(params, feature):
        layer = {"params": fold(decoder, params, 8, body)}
        vector = FoldedDecoder().apply(layer, feature, train=False).to_vector()
        return (vector * weigh).sum(), vector

    results = [
        jax.jit(jax.grad(form, argnums=(0, 1), has_aux=True))(params, feature)
        for form in (whole, folded)
    ]
    for expected, got in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-6 * max(1, np.abs(expected).max()))


def test_the_matrix_has_a_column_for_every_number(body):
    decoder, params, _ = decoder_alone("ktd", body)
    layer = jax.jit(lambda params: fold(decoder, params, 8))(params)
    assert layer["kernel"].shape == (8, 157)
    at_zero = decoder.apply({"params": params}, jnp.zeros(8), train=False)
    np.testing.assert_allclose(layer["bias"], at_zero.to_vector(), atol=1e-6)
    np.testing.assert_allclose(layer["bias"][-3:], at_zero.camera, atol=1e-6)
