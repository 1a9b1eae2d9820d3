import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.models import convolution


@pytest.fixture(params=["large", "small"])
def extent(request, monkeypatch):
    """Runs a test twice: as is, and with all inputs counted as large, for the CPU's Winograd."""
    if request.param == "large":
        monkeypatch.setattr(convolution, "FEWEST_CHANNELS", 1)
        monkeypatch.setattr(convolution, "FEWEST_PIXELS", 1)


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

    ours = value_and_gradients(lambda x, kernel: convolution.convolve(x, kernel, stride))
    for one, other in zip(ours, value_and_gradients(by_xla), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("h, w, channels", [(7, 6, 3), (4, 5, 8)])
def test_the_first_convolution_of_a_gpu_is_the_same(h, w, channels, monkeypatch):
    def choose(*args, cpu=None, cuda=None, default=None):
        return (cuda or default)(*args)

    x = jax.random.normal(jax.random.key(1), (2, h, w, channels))
    kernel = jax.random.normal(jax.random.key(2), (7, 7, channels, 5))
    plain, pull_plain = jax.vjp(lambda *a: convolution._by_xla(*a, 2), x, kernel)
    monkeypatch.setattr(jax.lax, "platform_dependent", choose)
    ours, pull_ours = jax.vjp(lambda *a: convolution.convolve(*a, 2), x, kernel)
    np.testing.assert_allclose(ours, plain, atol=1e-4)
    along = jax.random.normal(jax.random.key(3), plain.shape)
    for one, other in zip(pull_ours(along), pull_plain(along), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(("platform", "channels"), [("cuda", 16), ("tpu", 3), ("cpu", 3)])
def test_only_nvidias_gpus_convolve_squares_first(platform, channels):
    x, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((7, 7, 3, 4))
    traced = jax.jit(convolution.convolve, static_argnums=2).trace(x, kernel, 2)
    (line,) = (
        line
        for line in traced.lower(lowering_platforms=(platform,)).as_text().splitlines()
        if "stablehlo.convolution" in line
    )
    assert f"x{channels}xf32>, tensor<" in line


def test_a_gpu_is_given_no_product_of_every_second_pixel():
    """It crashes XLA (jaxlib 0.11) there."""
    x, kernel = jnp.zeros((1, 8, 8, 16)), jnp.zeros((1, 1, 16, 16))
    traced = jax.jit(convolution.convolve, static_argnums=2).trace(x, kernel, 2)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in program and "dot_general" not in program


@pytest.mark.parametrize("sizes, dtype, by_xla", [
    ((8, 8, 64, 64), jnp.float32, False), ((8, 8, 64, 64), jnp.bfloat16, True),
    ((8, 8, 63, 64), jnp.float32, True), ((8, 8, 64, 63), jnp.float32, True),
    ((7, 8, 64, 64), jnp.float32, True), ((8, 7, 64, 64), jnp.float32, True),
])  # fmt: skip
def test_only_large_convolutions_of_cpus_are_winograds(sizes, dtype, by_xla):
    x, kernel = jnp.zeros((1, *sizes[:3]), dtype), jnp.zeros((3, 3, *sizes[2:]), dtype)
    traced = jax.jit(convolution.convolve, static_argnums=2).trace(x, kernel, 1)
    for platform, so in (("cpu", by_xla), ("cuda", True), ("tpu", True)):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in program) == so
        assert ("stablehlo.dot_general" in program) != so


@pytest.mark.usefixtures("extent")
@pytest.mark.parametrize("size,stride", [(7, 2), (3, 1), (3, 2), (1, 2), (1, 1)])
def test_devices_that_share_a_batch_exchange_gradients_and_no_images(size, stride):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    shared, everywhere = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), ()))
    x = jax.ShapeDtypeStruct((8, 12, 12, 3), jnp.float32, sharding=shared)
    kernel = jax.ShapeDtypeStruct((size, size, 3, 4), jnp.float32, sharding=everywhere)
    gradient = jax.grad(lambda kernel, x: (convolution.convolve(x, kernel, stride) ** 2).sum())
    program = jax.jit(gradient).lower(kernel, x).compile().as_text()
    assert "all-reduce(" in program
    assert not any(f"{name}(" in program for name in ("all-gather", "all-to-all"))
