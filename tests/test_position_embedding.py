import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.models.position_embedding import add_position_embedding, time_embedding_of

EMBEDDING = jax.random.normal(jax.random.key(0), (1, 4, 1, 3))


@pytest.mark.parametrize("interpolate", [False, True])
def test_up_to_its_length_the_first_entries(interpolate):
    for t in (1, 3, 4):
        got = time_embedding_of(EMBEDDING, t, interpolate=interpolate)
        np.testing.assert_array_equal(got, EMBEDDING[:, :t])


def test_longer_ones_are_interpolated_from_end_to_end():
    got = time_embedding_of(EMBEDDING, 7, interpolate=True)
    np.testing.assert_allclose(got[:, ::2], EMBEDDING, atol=1e-6)  # every other one is an entry
    between = (EMBEDDING[:, 1:] + EMBEDDING[:, :-1]) / 2
    np.testing.assert_allclose(got[:, 1::2], between, atol=1e-6)
    line = jnp.linspace(2.0, 5.0, 4)[None, :, None, None]
    got = time_embedding_of(line, 50, interpolate=True)[0, :, 0, 0]
    np.testing.assert_allclose(got, np.linspace(2, 5, 50), rtol=1e-6)


def test_an_embedding_of_one_frame_serves_all():
    got = time_embedding_of(EMBEDDING[:, :1], 5, interpolate=True)
    np.testing.assert_array_equal(got, np.repeat(EMBEDDING[:, :1], 5, axis=1))


def test_longer_ones_are_refused_by_default():
    with pytest.raises(UserError, match="5 frames is longer than the 4 .*interpolate_time"):
        time_embedding_of(EMBEDDING, 5, interpolate=False)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("bfloat16", 2e-2)])
def test_positions_are_added_and_learn_from_the_whole_batch(dtype, tolerance):
    keys = jax.random.split(jax.random.key(0), 3)
    x, along = (jax.random.normal(key, (3, 4, 5, 6)).astype(dtype) for key in keys[:2])
    embedding = jax.random.normal(keys[2], (1, 4, 5, 6))
    answer, pull = jax.vjp(add_position_embedding, x, embedding)
    wanted = np.asarray(x, np.float64) + np.asarray(embedding, np.float64)
    assert answer.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(answer, np.float64), wanted, tolerance, tolerance)
    of_x, of_embedding = pull(along)
    np.testing.assert_array_equal(of_x, along)
    assert of_embedding.dtype == jnp.float32  # summed precisely for tokens of any dtype
    summed = np.asarray(along, np.float64).sum(axis=0, keepdims=True)
    np.testing.assert_allclose(of_embedding, summed, rtol=1e-5, atol=1e-5)
