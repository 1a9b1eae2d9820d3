import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import parity_rules as rules
import pytest
from decoder_parity import assert_answers, original_params
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.errors import UserError
from maed_jax.models.iterative import IterativeDecoder

ORIGINAL = {"pose": "decpose", "shape": "decshape", "camera": "deccam"}


@pytest.fixture(scope="module")
def body():
    return keypoint_body(mannequin())


def decoder(body, width=16, **kwargs):
    module = IterativeDecoder(width=width, **kwargs)
    feature = jax.random.normal(jax.random.key(0), (2, 3, 8))
    params = random_params(module.init, feature, body, train=False)
    return jax.jit(module.apply, static_argnames="train"), params, feature


def mean_body():
    mean = rules.mean_params()
    return types.SimpleNamespace(
        mean_pose6d=mean["pose"], mean_shape=mean["shape"], mean_camera=mean["cam"]
    )


@pytest.mark.parametrize("encoder", ["ste_parallel", "cnn_vanilla"])
def test_answers_are_the_originals(encoder, golden_dir):
    golden = np.load(golden_dir / f"model_{encoder}_iterative.npz")
    feature = jnp.asarray(golden["tap_feature"])
    module = IterativeDecoder()
    params = original_params(module, feature.shape[-1], lambda layer: ORIGINAL.get(layer, layer))
    assert_answers(module.apply(params, feature, mean_body(), train=False), golden)


def test_written_out(body):
    apply, params, feature = decoder(body, rounds=2)
    p = params["params"]

    def linear(name, x):
        return x @ p[name]["kernel"] + p[name]["bias"]

    def tiled(mean):
        return np.broadcast_to(mean, (2, 3, len(mean)))

    pose, shape, camera = map(tiled, (body.mean_pose6d, body.mean_shape, body.mean_camera))
    for _ in range(2):
        x = linear("fc2", linear("fc1", np.concatenate([feature, pose, shape, camera], axis=-1)))
        pose, shape, camera = (
            pose + linear("pose", x), shape + linear("shape", x), camera + linear("camera", x)
        )  # fmt: skip
    got = apply(params, feature, body, train=False)
    np.testing.assert_allclose(got.pose6d.reshape(2, 3, 144), pose, atol=1e-5)
    np.testing.assert_allclose(got.shape, shape, atol=1e-5)
    np.testing.assert_allclose(got.camera, camera, atol=1e-5)


def test_training_starts_near_the_mean(body):
    module = IterativeDecoder(width=64)
    feature = jnp.ones((1, 8))
    variables = module.init(jax.random.key(0), feature, body, train=False)
    got = module.apply(variables, feature, body, train=False)
    error = np.abs(got.pose6d.reshape(144) - body.mean_pose6d)
    assert 0 < error.max() < 0.2
    assert np.abs(got.camera - body.mean_camera).max() < 0.2


def test_parameters_need_no_body():
    module = IterativeDecoder(width=16)
    shapes = jax.eval_shape(
        lambda key: module.init(key, jnp.zeros((1, 8)), None, train=False), jax.random.key(0)
    )
    assert shapes["params"]["fc1"]["kernel"].shape == (8 + 157, 16)


def test_a_body_without_a_mean_is_refused(body):
    apply, params, feature = decoder(body)
    for missing in (None, dataclasses.replace(body, mean_shape=None)):
        with pytest.raises(UserError, match="decoder 'iterative'.*smpl_mean_params.npz"):
            apply(params, feature, missing, train=False)


def test_dropout_only_in_training(body):
    apply, params, feature = decoder(body)
    rngs = [{"dropout": jax.random.key(i)} for i in range(2)]
    a, b = (apply(params, feature, body, train=True, rngs=r).camera for r in rngs)
    assert np.abs(a - b).max() > 0
    still = [apply(params, feature, body, train=False).camera for _ in range(2)]
    np.testing.assert_array_equal(*still)


def test_both_layers_are_dropped_out(body):
    """One channel and one round have three outcomes: zero, only the bias, and everything."""
    apply, params, _ = decoder(body, width=1, rounds=1)
    rngs = {"dropout": jax.random.key(0)}
    answer = apply(params, jnp.ones((64, 8)), body, train=True, rngs=rngs)
    assert len(np.unique(np.asarray(answer.camera).round(4), axis=0)) == 3
