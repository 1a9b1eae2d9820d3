import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from maed_jax.models import resnet


def test_standardised_kernels_have_zero_mean_and_unit_deviation():
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 8, 4)) * 5 + 2
    kernel = resnet.standardise(kernel)
    np.testing.assert_allclose(kernel.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(kernel.std((0, 1, 2)), 1, atol=1e-4)


def test_kernels_standardised_beforehand_give_the_same():
    x, conv = jax.random.normal(jax.random.key(0), (1, 5, 5, 4)), resnet.StdConv(3, 3)
    params = conv.init(jax.random.key(1), x)["params"]
    root = {"block1": {"conv1": params}, "gn": {"scale": jnp.ones(4)}}
    beforehand = resnet.standardise_kernels(root)
    assert set(beforehand["block1"]["conv1"]) == {"standardised"}
    assert beforehand["gn"] == root["gn"]
    found, expected = (
        conv.apply({"params": part["block1"]["conv1"]}, x) for part in (beforehand, root)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_padding_of_an_odd_stride_is_tensorflows():
    # Size 4, kernel 3, stride 2: one column of zeros after, none before.
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(1.0)
    conv = resnet.StdConv(1, 3, stride=2)
    kernel = jnp.arange(9.0).reshape(3, 3, 1, 1)
    y = conv.apply({"params": {"kernel": kernel}}, x)
    assert y.shape == (1, 2, 2, 1)
    np.testing.assert_allclose(y[0, 0, 0, 0], resnet.standardise(kernel)[0, 0, 0, 0], rtol=1e-6)


def test_shapes_and_names_are_the_published_ones():
    root = resnet.ResNetRoot()
    image = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    out, variables = jax.eval_shape(lambda x: root.init_with_output(jax.random.key(0), x), image)
    assert out.shape == (2, 14, 14, 1024)
    params = variables["params"]
    assert [len(params[f"block{i}"]) for i in (1, 2, 3)] == [3, 4, 9]
    unit = params["block2"]["unit1"]
    assert unit["conv_proj"]["kernel"].shape == (1, 1, 256, 512)
    assert unit["conv2"]["kernel"].shape == (3, 3, 128, 128)
    assert "conv_proj" not in params["block2"]["unit2"]


@pytest.mark.parametrize("size", [6, 7])
def test_max_pool_and_its_gradient_are_the_window_reductions(size):
    x = jax.random.normal(jax.random.key(0), (2, size, size + 1, 3))

    def flax_max_pool(x):
        return nn.max_pool(x, (3, 3), (2, 2), "SAME")

    np.testing.assert_array_equal(resnet.max_pool(x), flax_max_pool(x))
    weights = jax.random.normal(jax.random.key(1), resnet.max_pool(x).shape)
    ours, theirs = (
        jax.grad(lambda x, pool=pool: (pool(x) * weights).sum())(x)
        for pool in (resnet.max_pool, flax_max_pool)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_both_sums_at_once_are_each_by_itself(monkeypatch):
    a, b = (jax.random.normal(jax.random.key(i), (2, 5, 7, 64)) for i in range(2))
    separate = resnet._sums(a, b)
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *a, cuda, default: cuda(*a))
    for one, other in zip(resnet._sums(a, b), separate):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_relu_is_flaxs_with_its_gradient():
    x = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    ours, pull_ours = jax.vjp(resnet._relu, x)
    plain, pull_plain = jax.vjp(nn.relu, x)
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(pull_ours(x + 7)[0], pull_plain(x + 7)[0])


@pytest.mark.parametrize("channels", [16, 64])
def test_group_norm_and_its_gradient_are_flaxs(channels):
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 4, channels))
    theirs = nn.GroupNorm(min(32, channels), epsilon=1e-5, use_fast_variance=False)
    params = theirs.init(jax.random.key(1), x)
    params = jax.tree.map(lambda p: p + jax.random.normal(jax.random.key(2), p.shape), params)
    (y, pull), (expected, pull_expected) = (
        jax.vjp(module.apply, params, x) for module in (resnet.GroupNorm(), theirs)
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)
    along = jax.random.normal(jax.random.key(3), x.shape)
    for one, other in zip(jax.tree.leaves(pull(along)), jax.tree.leaves(pull_expected(along))):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e3, -3e4])
def test_a_uniform_image_is_nothing_to_group_norm(value):
    """Its computed variance may be negative because of rounding."""
    x = jnp.full((1, 7, 7, 32), value)
    y, pull = jax.vjp(lambda x: resnet.group_norm(x, jnp.ones(32), jnp.zeros(32)), x)
    np.testing.assert_allclose(y, 0, atol=1e-4 * max(1, abs(value)))
    assert np.isfinite(pull(jnp.ones_like(x))[0]).all()
