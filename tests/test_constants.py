import functools

import jax
import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.models.constants import fold_constants
from maed_jax.models.maed import MAED
from maed_jax.models.resnet import standardise

SMALL = dict(
    image_size=32, clip_length=4, width=8, dim=16, depth=1, heads=2, feature_dim=12,
    decoder_width=16,
)  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("ste", "ktd"), ("te", "iterative"), ("cnn", "ktd")]
)
def test_answers_stay(encoder, decoder):
    stages = (1, 1, 1, 1) if encoder == "cnn" else (2,)
    model = MAED(**SMALL, stage_sizes=stages, encoder=encoder, decoder=decoder)
    body = keypoint_body(mannequin())
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
    again, folded = fold_constants(*fold_constants(model, variables))
    assert again.decoder == "folded"
    root = folded["params"]["encoder"]["root"]
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(root)}
    assert names == {"standardised", "scale", "bias"}
    kernel = variables["params"]["encoder"]["root"]["conv_root"]["kernel"]
    np.testing.assert_allclose(root["conv_root"]["standardised"], standardise(kernel), atol=1e-6)
