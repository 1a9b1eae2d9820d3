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


@pytest.fixture(params=["large", "small"])
def extent(request, monkeypatch):
    """What is convolved here counts as large, for which CPUs have another way, or as it is."""
    if request.param == "large":
        monkeypatch.setattr(resnet, "FEWEST_CHANNELS", 1)
        monkeypatch.setattr(resnet, "FEWEST_PIXELS", 1)


@pytest.mark.usefixtures("extent")
@pytest.mark.parametrize("size, stride", [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("h, w", [(7, 6), (4, 5)])
def test_every_way_to_convolve_is_xlas_convolution(size, stride, h, w):
    x = jax.random.normal(jax.random.key(1), (2, h, w, 8))
    kernel = jax.random.normal(jax.random.key(2), (size, size, 8, 5))

    def by_xla(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def value_and_gradients(form):
        def run(x, kernel):
            y, pull = jax.vjp(form, x, kernel)
            return y, *pull(jax.random.normal(jax.random.key(3), y.shape))

        return jax.jit(run)(x, kernel)

    ours = value_and_gradients(lambda x, kernel: resnet.convolve(x, kernel, stride))
    for one, other in zip(ours, value_and_gradients(by_xla), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_gpu_is_given_no_product_of_every_second_pixel():
    """XLA 0.11 dies of it there."""
    x, kernel = jnp.zeros((1, 8, 8, 16)), jnp.zeros((1, 1, 16, 16))
    traced = jax.jit(resnet.convolve, static_argnums=2).trace(x, kernel, 2)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in program and "dot_general" not in program


@pytest.mark.parametrize(("channels", "by_xla"), [(64, False), (63, True)])
def test_only_large_convolutions_of_cpus_are_winograds(channels, by_xla):
    x, kernel = jnp.zeros((1, 8, 8, channels)), jnp.zeros((3, 3, channels, channels))
    traced = jax.jit(resnet.convolve, static_argnums=2).trace(x, kernel, 1)
    for platform, so in (("cpu", by_xla), ("cuda", True), ("tpu", True)):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in program) == so
        assert ("stablehlo.dot_general" in program) != so


@pytest.mark.usefixtures("extent")
@pytest.mark.parametrize("size,stride", [(7, 2), (3, 1), (3, 2), (1, 2), (1, 1)])
def test_devices_that_share_a_batch_exchange_gradients_and_no_pictures(size, stride):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    shared, everywhere = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), ()))
    x = jax.ShapeDtypeStruct((8, 12, 12, 3), jnp.float32, sharding=shared)
    kernel = jax.ShapeDtypeStruct((size, size, 3, 4), jnp.float32, sharding=everywhere)
    gradient = jax.grad(lambda kernel, x: (resnet.convolve(x, kernel, stride) ** 2).sum())
    program = jax.jit(gradient).lower(kernel, x).compile().as_text()
    assert "all-reduce(" in program
    assert not any(f"{name}(" in program for name in ("all-gather", "all-to-all"))


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
def test_a_uniform_picture_is_nothing_to_group_norm(value):
    """Rounding may leave its variance below zero."""
    x = jnp.full((1, 7, 7, 32), value)
    y, pull = jax.vjp(lambda x: resnet.group_norm(x, jnp.ones(32), jnp.zeros(32)), x)
    np.testing.assert_allclose(y, 0, atol=1e-4 * max(1, abs(value)))
    assert np.isfinite(pull(jnp.ones_like(x))[0]).all()
