import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.errors import UserError
from maed_jax.models.encoder import SpatialTemporalEncoder

SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1, 1), width=8,
    dim=16, depth=2, heads=2, feature_dim=12,
)  # fmt: skip


def clip(b=2, t=3, seed=0):
    return jax.random.normal(jax.random.key(seed), (b, t, 32, 32, 3))


def encoder(mode="parallel"):
    module = SpatialTemporalEncoder(**SMALL, mode=mode)
    return jax.jit(module.apply), random_params(module.init, clip())


@pytest.mark.parametrize("mode", ["parallel", "series", "coupling", "vanilla", "temporal"])
def test_one_feature_for_every_frame(mode):
    apply, params = encoder(mode)
    feature = apply(params, clip())
    assert feature.shape == (2, 3, 12)
    assert jnp.abs(feature).max() <= 1  # behind a tanh
    has_time = "time_embedding" in params["params"]
    assert has_time == (mode in ("parallel", "series", "coupling"))


def test_an_image_is_a_clip_of_one_frame():
    apply, params = encoder("vanilla")
    x = clip()
    one_by_one = jnp.concatenate([apply(params, x[:, i : i + 1]) for i in range(3)], axis=1)
    np.testing.assert_allclose(apply(params, x), one_by_one, atol=1e-5)


def test_a_clip_may_be_shorter_than_the_embedding_but_not_longer():
    apply, params = encoder()
    assert apply(params, clip(t=1)).shape == (2, 1, 12)
    with pytest.raises(UserError, match="5 frames is longer than the 4"):
        apply(params, clip(t=5))


def test_frames_of_another_size_are_refused():
    apply, params = encoder()
    with pytest.raises(UserError, match="32x32 pixels, not 32x48"):
        apply(params, jnp.zeros((1, 1, 32, 48, 3)))


def test_order_of_frames_matters():
    apply, params = encoder()
    x = clip()
    forward, backward = apply(params, x), apply(params, x[:, ::-1])[:, ::-1]
    assert jnp.abs(forward - backward).max() > 1e-4
