"""What a stage takes from the previous one."""

import jax
import numpy as np
import pytest
import tiny

from maed_jax.errors import UserError
from maed_jax.training.handover import hand_over


@pytest.fixture(scope="module")
def old():
    """Initial variables of a stage on single frames."""
    variables = tiny.trainer(model=tiny.TinyModel(clip_length=1))[0].variables
    return jax.tree.map(lambda p: p + 1, variables)


@pytest.fixture(scope="module")
def new():
    return tiny.trainer()[0].variables


@pytest.mark.parametrize("decoder", [False, True])
def test_takes_the_encoder_and_the_decoder_by_option(old, new, decoder):
    got, report = hand_over(new, old, decoder=decoder)
    for module, layer, source in (
        ("encoder", "embedding", old),
        ("decoder", "head", old if decoder else new),
    ):
        kernel = got["params"][module][layer]["kernel"]
        np.testing.assert_array_equal(kernel, source["params"][module][layer]["kernel"])
        assert kernel.sharding == new["params"][module][layer]["kernel"].sharding
    assert ("new: decoder/head/kernel" in report) == (not decoder)
    assert f"taken: {4 if decoder else 2} arrays" in report


def test_a_single_frames_embedding_is_where_all_start(old, new):
    got, report = hand_over(new, old, decoder=False)
    got, old, new = (v["params"]["encoder"]["time_embedding"] for v in (got, old, new))
    np.testing.assert_allclose(got, new + old, rtol=1e-6)
    assert "repeated: encoder/time_embedding [1, 1, 32] over [1, 4, 32]" in report


def test_other_shapes_stay_fresh(old, new):
    encoder = new["params"]["encoder"]
    earlier = {"encoder": encoder | {"embedding": {"kernel": np.ones((3, 32))}}}
    got, report = hand_over(new, {"params": earlier}, decoder=False)
    kernel = got["params"]["encoder"]["embedding"]["kernel"]
    np.testing.assert_array_equal(kernel, encoder["embedding"]["kernel"])
    assert "new, does not fit: encoder/embedding/kernel [192, 32] (before: [3, 32])" in report


def test_other_shapes_are_named_however_much_is_new(old, new):
    many = {f"layer{i}": np.ones(2) for i in range(9)}
    encoder = new["params"]["encoder"] | {"time_embedding": np.ones((1, 3, 32)), "more": many}
    fresh = {"params": new["params"] | {"encoder": jax.tree.map(jax.numpy.asarray, encoder)}}
    earlier = {"params": {"encoder": new["params"]["encoder"]}}
    _, report = hand_over(fresh, earlier, decoder=False)
    assert "does not fit: encoder/time_embedding [1, 3, 32] (before: [1, 4, 32])" in report
    assert "new: encoder (9 arrays)" in report and "layer8" not in report


def test_nothing_fits(old):
    with pytest.raises(UserError, match="nothing in config.init_from fits"):
        hand_over({"params": {"encoder": {"other": np.zeros(3)}}}, old, decoder=False)


def test_batch_norms_running_values_come_along():
    old, new = (tiny.trainer(model=tiny.TinyModel(batch_norm=True))[0].variables for _ in range(2))
    old = jax.tree.map(lambda p: p + 1, old)
    got, report = hand_over(new, old, decoder=False)
    for got_, old_ in zip(*(jax.tree.leaves(v["batch_stats"]) for v in (got, old)), strict=True):
        np.testing.assert_array_equal(got_, old_)
    assert "taken: 6 arrays" in report
