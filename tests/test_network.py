"""The parts of the measured network add up to the whole."""

import jax
import jax.numpy as jnp
import pytest

from maed_jax.bench import network, original
from maed_jax.bench.operations import count
from maed_jax.errors import UserError
from maed_jax.models.maed import for_inference
from maed_jax.runs.config import load_config


@pytest.fixture(scope="module")
def net():
    """A network with shapes instead of values: nothing is computed."""
    config = load_config("debug", ["--config.model.depth=2"])
    model, body = network.model_and_body(config)
    shapes = jax.eval_shape(lambda key: network.init(model, body, key), jax.random.key(0))
    return network.Network(model, shapes, body)


def test_standardised_kernels_leave_the_matmuls_of_the_root(net):
    shapes = jax.eval_shape(for_inference, net.variables)
    root = network.parts(net._replace(variables=shapes), 1, 2)["root"]
    assert operations(root) == 2 * original.root(net.model)


def operations(work):
    return count(work[0], *work[1]).operations


def test_parts_make_up_the_whole(net):
    b, t = 2, 3
    parts = {name: operations(work) for name, work in network.parts(net, b, t).items()}
    assert list(parts) == list(original.parts(net.model, t))
    ends = b * t * 2 * net.model.dim * net.model.feature_dim  # last layer of the encoder
    assert sum(parts.values()) + ends == operations(network.forward(net, b, t))
    for name in ("root", "embedding", "decoder"):
        assert parts[name] == b * original.parts(net.model, t)[name]
    # The last block computes one token per frame, and the body of keypoints has few vertices.
    assert parts["blocks"] < b * original.parts(net.model, t)["blocks"]
    assert parts["body"] < b * original.parts(net.model, t)["body"]


def test_gradients_of_the_root_are_the_originals_count(net):
    root = network.with_gradient(network.parts(net, 1, 2)["root"], 0)
    floor = original.step_parts(net.model, 2)["root"]
    assert floor <= operations(root) < 1.05 * floor  # on a CPU, 8-column windows instead of 7


def test_gradients_are_those_by_the_chosen_arguments():
    x, w = jnp.arange(6.0).reshape(2, 3), jnp.ones((3, 4))
    function, (cotangent, *arguments) = network.with_gradient((jnp.matmul, (x, w)), 1)
    answer, (of_w,) = function(cotangent, *arguments)
    assert jnp.array_equal(answer, x @ w) and jnp.allclose(of_w, x.T @ cotangent)


def test_a_block_answers_for_all_tokens(net):
    mode = "coupling"
    model = net.model.clone(mode=mode)
    assert operations(network.block(net, mode, 3)) == original.block(model, 3)


def test_bfloat16_moves_half_the_bytes(net):
    half = net._replace(model=net.model.clone(dtype="bfloat16"))
    (full, arguments), (halved, halves) = (network.parts(n, 1, 2)["root"] for n in (net, half))
    assert halves[1].dtype == jnp.bfloat16
    assert count(halved, *halves).bytes == count(full, *arguments).bytes / 2


def test_other_encoders_are_refused():
    with pytest.raises(UserError, match='only the encoder "ste" is measured'):
        network.model_and_body(load_config("debug", ["--config.model.encoder=cnn"]))
