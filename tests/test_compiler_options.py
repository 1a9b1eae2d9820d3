import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.flatten_util import ravel_pytree
from random_params import random_params

from maed_jax import compiler_options
from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import keypoint_body
from maed_jax.compiler_options import without_cache
from maed_jax.models.maed import MAED


@pytest.fixture(autouse=True)
def anew():
    compiler_options._has_onednn.cache_clear()
    yield
    compiler_options._has_onednn.cache_clear()


def test_large_networks_on_many_frames_alone_are_given_to_onednn():
    assert compiler_options.for_training(768, 16)["xla_cpu_use_onednn"]
    assert compiler_options.for_training(128, 64) is None
    assert compiler_options.for_training(768, 1) is None


def test_other_devices_and_other_versions_of_xla_get_no_options(monkeypatch):
    monkeypatch.setattr(compiler_options, "_BY_ONEDNN", {"xla_cpu_no_such_option": True})
    assert compiler_options.for_training(768, 16) is None
    monkeypatch.undo()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    compiler_options._has_onednn.cache_clear()
    assert compiler_options.for_training(768, 16) is compiler_options.hastily() is None


@pytest.fixture
def cache(tmp_path):
    """Names of the programs in a compilation cache without a minimum compile time."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(tmp_path), 0.0)):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield lambda: {path.name.split("-")[0] for path in tmp_path.iterdir()}
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_nothing_is_saved_without_the_cache_and_all_is_as_it_was_then(cache):
    def before(x):
        return x + 1

    def within(x):
        return x + 2

    def after(x):
        return x + 3

    jax.jit(before)(1.0)
    with without_cache():
        jax.jit(within)(1.0)
        with pytest.raises(ZeroDivisionError), without_cache():
            raise ZeroDivisionError
        assert not jax.config.jax_enable_compilation_cache
    jax.jit(after)(1.0)
    assert cache() == {"jit_before", "jit_after"}


def test_what_is_compiled_hastily_is_the_same():
    draw = jax.jit(jax.random.key_data, compiler_options=compiler_options.hastily())
    key = jax.random.key(3)
    np.testing.assert_array_equal(draw(key), jax.random.key_data(key))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_and_its_gradient_are_the_same_by_onednn(dtype):
    model = MAED(
        image_size=32, clip_length=4, stage_sizes=(1,), width=8, dim=16, depth=1, heads=2,
        feature_dim=12, decoder_width=16, dtype=dtype,
    )  # fmt: skip
    clip = jax.random.normal(jax.random.key(0), (2, 4, 32, 32, 3))
    variables = random_params(model.init, clip, None, method="regress")
    body = keypoint_body(mannequin())

    def loss(variables, clip):
        return jnp.mean(model.apply(variables, clip, body).keypoints_3d ** 2)

    def answers(options):
        program = jax.jit(jax.value_and_grad(loss), compiler_options=options)
        with without_cache():
            return ravel_pytree(program(variables, clip))[0]

    plain, by_onednn = answers(None), answers(compiler_options.for_training(768, 16))
    # In bfloat16, both are a few hundredths off the float32 values.
    tolerance = {"float32": 1e-5, "bfloat16": 0.1}[dtype] * np.abs(plain).max()
    np.testing.assert_allclose(by_onednn, plain, atol=tolerance)
