"""The closed forms equal counts of our network in the parts that save nothing."""

import jax
import jax.numpy as jnp
import pytest

from maed_jax.bench import network, original
from maed_jax.bench.operations import count
from maed_jax.models.encoders import make_encoder
from maed_jax.models.maed import MAED
from maed_jax.models.resnet import ResNetRoot

SMALL = dict(image_size=64, stage_sizes=(1, 2), width=32, dim=48, depth=2, heads=4, feature_dim=40)


def test_the_papers_network_takes_415_billion_for_a_clip():
    assert original.forward(MAED(), 16) == pytest.approx(415e9, rel=0.01)
    assert original.step(MAED(), 16) == pytest.approx(3 * 415e9, rel=0.02)
    parts = original.parts(MAED(), 16)
    assert sum(parts.values()) == original.forward(MAED(), 16)
    assert parts["body"] + parts["decoder"] < 0.005 * original.forward(MAED(), 16)


@pytest.mark.parametrize("stages", ((1,), (2, 1), (1, 1, 1)))
def test_root(stages):
    root = ResNetRoot(stages, width=32)
    x = jnp.zeros((1, 48, 48, 3))
    params = jax.eval_shape(root.init, jax.random.key(0), x)
    counted = count(lambda p, x: root.apply(p, x), params, x).operations
    model = MAED(image_size=48, stage_sizes=stages, width=32)
    assert original.root(model) == counted


@pytest.mark.parametrize(
    "mode", ("parallel", "parallel_v1", "series", "coupling", "vanilla", "temporal")
)
def test_encoder(mode):
    model, t = MAED(**SMALL, mode=mode), 3
    encoder = make_encoder(model)
    clip = jnp.zeros((1, t, 64, 64, 3))
    params = jax.eval_shape(encoder.init, jax.random.key(0), clip)

    def whole(params, clip):  # with intermediates, the last block computes all tokens
        return encoder.apply(params, clip, mutable=["intermediates"])

    floors = original.parts(model, t)
    expected = floors["root"] + floors["embedding"] + floors["blocks"]
    assert count(whole, params, clip).operations == expected


def test_decoder():
    model = MAED(**SMALL, decoder_width=32)
    decoder = network.make_decoder(model)
    feature = jnp.zeros((1, model.feature_dim))
    params = jax.eval_shape(lambda k: decoder.init(k, feature, train=False), jax.random.key(0))
    counted = count(lambda p, x: decoder.apply(p, x, train=False), params, feature).operations
    assert original.decoder(model) == counted
