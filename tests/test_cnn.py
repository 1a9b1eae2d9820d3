import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.models.cnn import Conv, ConvolutionalEncoder, batch_norm
from maed_jax.training import sharding

TINY = ConvolutionalEncoder(stage_sizes=(1, 2), width=4)


def clip(b=2, t=3, seed=0):
    return jax.random.normal(jax.random.key(seed), (b, t, 32, 32, 3))


@pytest.fixture(scope="module")
def variables():
    fresh = random_params(TINY.init, clip())
    stats = jax.tree.map(lambda s: jnp.abs(s) + 0.5, fresh["batch_stats"])
    return {"params": fresh["params"], "batch_stats": stats}


def test_shapes_and_names_are_torchvisions():
    module = ConvolutionalEncoder()
    image = jax.ShapeDtypeStruct((2, 3, 224, 224, 3), jnp.float32)
    out, shapes = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x), image)
    assert out.shape == (2, 3, 2048)
    params, stats = shapes["params"], shapes["batch_stats"]
    layers = [sum(name.startswith(f"layer{i}") for name in params) for i in (1, 2, 3, 4)]
    assert layers == [3, 4, 6, 3]
    assert params["layer2_0"]["downsample_conv"]["kernel"].shape == (1, 1, 256, 512)
    assert params["layer2_0"]["conv2"]["kernel"].shape == (3, 3, 128, 128)
    assert stats["layer2_0"]["downsample_bn"]["var"].shape == (512,)
    assert "downsample_conv" in params["layer1_0"] and "downsample_conv" not in params["layer2_1"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 23_508_032  # without its head


def test_padding_of_an_odd_stride_is_pytorchs():
    # Size 4, kernel 3, stride 2: a column of zeros before; the one after is never used.
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(1.0)
    kernel = jnp.arange(9.0).reshape(3, 3, 1, 1)
    y = Conv(1, 3, stride=2).apply({"params": {"kernel": kernel}}, x)
    assert y.shape == (1, 2, 2, 1)
    assert y[0, 0, 0, 0] == kernel[1, 1, 0, 0]


def test_the_pool_pads_as_pytorch():
    """An encoder without stages is stem and pool: compares with an explicit window reduction."""
    module = ConvolutionalEncoder(stage_sizes=(), width=4)
    variables = random_params(module.init, clip())
    p, s = variables["params"]["bn1"], variables["batch_stats"]["bn1"]
    s = variables["batch_stats"]["bn1"] = jax.tree.map(jnp.ones_like, s)
    x = Conv(4, 7, 2).apply({"params": variables["params"]["conv1"]}, clip()[0])
    x = jax.nn.relu((x - s["mean"]) / jnp.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"])
    window = dict(window_dimensions=(1, 3, 3, 1), window_strides=(1, 2, 2, 1))
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    pooled = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, padding=around, **window)
    expected = pooled.mean(axis=(1, 2))
    np.testing.assert_allclose(module.apply(variables, clip())[0], expected, atol=1e-5)


def test_batch_norm_goes_by_the_batch_in_training_and_remembers_a_tenth():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 5, 5, 2))
    variables = {
        "params": {"scale": jnp.array([1.0, 2.0]), "bias": jnp.array([0.0, 1.0])},
        "batch_stats": {"mean": jnp.zeros(2), "var": jnp.ones(2)},
    }
    y, state = batch_norm(None, True).apply(variables, x, mutable="batch_stats")
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    p = variables["params"]
    expected = (x - mean) / jnp.sqrt(var + 1e-5) * p["scale"] + p["bias"]
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-5)
    far, _ = batch_norm(None, True).apply(variables, x + 1000, mutable="batch_stats")
    np.testing.assert_allclose(far, y, atol=1e-3)
    y = batch_norm(None, False).apply(variables, x)
    np.testing.assert_allclose(y, x / jnp.sqrt(1 + 1e-5) * p["scale"] + p["bias"], rtol=1e-5)


def test_all_layers_go_by_the_batch_in_training(variables):
    """The running values do not matter in training, and all of them change."""
    train = jax.jit(functools.partial(TINY.apply, train=True, mutable="batch_stats"))
    before = variables["batch_stats"]
    other = variables | {"batch_stats": jax.tree.map(lambda s: 2 * s, before)}
    (one, after), (two, _) = train(variables, clip()), train(other, clip())
    np.testing.assert_allclose(one, two, atol=1e-5)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after["batch_stats"]), strict=True):
        assert (a != b).all()


def test_a_convolution_starts_as_torchvisions():
    kernel = Conv(64, 3).init(jax.random.key(0), jnp.zeros((1, 4, 4, 16)))["params"]["kernel"]
    assert kernel.std() == pytest.approx((2 / (3 * 3 * 64)) ** 0.5, rel=0.05)


def test_frames_are_apart_and_any_number(variables):
    apply = jax.jit(TINY.apply)
    one_by_one = [apply(variables, clip()[:, i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(
        apply(variables, clip()), jnp.concatenate(one_by_one, axis=1), atol=1e-5
    )
    assert one_by_one[0].shape == (2, 1, 32)


def test_eight_devices_normalise_over_the_batch_of_all(variables):
    def train(variables, clip):
        return TINY.apply(variables, clip, train=True, mutable="batch_stats")

    x = clip(b=8, t=1) * jnp.arange(1, 9)[:, None, None, None, None]  # a different scale per device
    one = jax.jit(train)(variables, x)
    mesh = sharding.make_mesh(8, 1)
    many = jax.jit(train)(variables, jax.device_put(x, sharding.batch_sharding(mesh)))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many)):
        np.testing.assert_allclose(a, b, atol=1e-4)
