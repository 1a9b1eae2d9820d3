"""What a stage takes from the one before."""

import jax
import numpy as np
import pytest
import tiny

from maed_jax.errors import UserError
from maed_jax.training.handover import hand_over


@pytest.fixture(scope="module")
def old():
    """Parameters of a stage on single frames."""
    params = tiny.trainer(model=tiny.TinyModel(clip_length=1))[0].params
    return jax.tree.map(lambda p: p + 1, params)


@pytest.fixture(scope="module")
def new():
    return tiny.trainer()[0].params


@pytest.mark.parametrize("decoder", [False, True])
def test_takes_the_encoder_and_the_decoder_by_option(old, new, decoder):
    got, report = hand_over(new, old, decoder=decoder)
    for module, layer, source in (
        ("encoder", "embedding", old),
        ("decoder", "head", old if decoder else new),
    ):
        kernel = got[module][layer]["kernel"]
        np.testing.assert_array_equal(kernel, source[module][layer]["kernel"])
        assert kernel.sharding == new[module][layer]["kernel"].sharding
    assert ("new: decoder/head/kernel" in report) == (not decoder)
    assert f"taken: {4 if decoder else 2} arrays" in report


def test_a_single_frames_embedding_is_where_all_start(old, new):
    got, report = hand_over(new, old)
    wanted = new["encoder"]["time_embedding"] + old["encoder"]["time_embedding"]
    np.testing.assert_allclose(got["encoder"]["time_embedding"], wanted, rtol=1e-6)
    assert "repeated: encoder/time_embedding [1, 1, 32] over [1, 4, 32]" in report


def test_other_shapes_stay_fresh(old, new):
    other = {"encoder": old["encoder"] | {"embedding": {"kernel": np.ones((3, 32))}}}
    got, report = hand_over(
        new,
        other
        | {"encoder": other["encoder"] | {"time_embedding": new["encoder"]["time_embedding"]}},
    )
    np.testing.assert_array_equal(
        got["encoder"]["embedding"]["kernel"], new["encoder"]["embedding"]["kernel"]
    )
    assert "new: encoder/embedding/kernel [192, 32] (there [3, 32])" in report


def test_nothing_fits(old):
    with pytest.raises(UserError, match="nothing in config.init_from fits"):
        hand_over({"encoder": {"other": np.zeros(3)}}, old)
