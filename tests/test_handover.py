"""What a stage takes from the one before."""

import jax
import numpy as np
import pytest
import tiny

from maed_jax.errors import UserError
from maed_jax.training.checkpoints import Checkpoints
from maed_jax.training.handover import hand_over


@pytest.fixture
def stage1(tmp_path):
    """A work directory of a model on single frames, and its parameters."""
    state, _ = tiny.trainer(model=tiny.TinyModel(clip_length=1))
    state = state.replace(params=jax.tree.map(lambda p: p + 1, state.params))
    with Checkpoints(tmp_path) as saved:
        saved.save(state, {})
    return tmp_path, state.params


@pytest.mark.parametrize("decoder", [False, True])
def test_takes_the_encoder_and_the_decoder_by_option(stage1, decoder):
    directory, old = stage1
    new = tiny.trainer()[0].params
    got, report = hand_over(new, directory, decoder=decoder)
    np.testing.assert_array_equal(
        got["encoder"]["embedding"]["kernel"], old["encoder"]["embedding"]["kernel"]
    )
    source = old if decoder else new
    np.testing.assert_array_equal(
        got["decoder"]["head"]["kernel"], source["decoder"]["head"]["kernel"]
    )
    assert ("new: decoder/head/kernel" in report) == (not decoder)


def test_a_single_frames_embedding_is_where_all_start(stage1):
    directory, old = stage1
    new = tiny.trainer()[0].params["encoder"]["time_embedding"]
    got, report = hand_over(tiny.trainer()[0].params, directory)
    embedding = got["encoder"]["time_embedding"]
    np.testing.assert_allclose(embedding, new + old["encoder"]["time_embedding"], rtol=1e-6)
    assert "repeated: encoder/time_embedding [1, 1, 32] over [1, 4, 32]" in report


def test_nothing_fits(stage1):
    with pytest.raises(UserError, match="nothing in .* fits"):
        hand_over({"encoder": {"other": np.zeros(3)}}, stage1[0])


def test_no_earlier_stage(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        hand_over(tiny.trainer()[0].params, tmp_path)
