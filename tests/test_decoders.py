import jax
import jax.numpy as jnp
import pytest

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.errors import UserError
from maed_jax.models.decoders import DECODERS, check_decoder, make_decoder
from maed_jax.models.maed import MAED


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_by_name(name):
    decoder = make_decoder(MAED(decoder=name, decoder_width=16, dim=8, heads=2))
    body = keypoint_body(mannequin())
    feature = jnp.zeros((2, 3, 12))
    for given in (body, None):  # parameters do not depend on the body
        variables = jax.eval_shape(
            lambda key, given=given: decoder.init(key, feature, given, train=False),
            jax.random.key(0),
        )
        answer = jax.eval_shape(lambda v: decoder.apply(v, feature, body, train=False), variables)
        assert answer.pose6d.shape == (2, 3, 24, 6)
        assert answer.shape.shape == (2, 3, 10)
        assert answer.camera.shape == (2, 3, 3)


def test_an_unknown_decoder_is_named_with_the_choices():
    with pytest.raises(UserError, match=f"no decoder 'tree'; choose from {', '.join(DECODERS)}"):
        make_decoder(MAED(decoder="tree"))


def test_decoders_are_checked_by_name():
    with pytest.raises(UserError, match="no decoder 'tree'; choose from ktd, "):
        check_decoder("tree")
    for name in DECODERS:
        check_decoder(name)
