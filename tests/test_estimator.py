import ast
import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import pytest
from random_params import random_params

import maed_jax
from maed_jax.body.mannequin import mannequin
from maed_jax.data.images import normalise
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator, check_finite
from maed_jax.models.maed import MAED

MODEL = MAED(
    image_size=32, clip_length=4, stage_sizes=(1,), width=8, dim=16, depth=1, heads=2,
    feature_dim=12, decoder_width=16,
)  # fmt: skip


def test_an_estimator_is_the_model_with_its_body():
    clip = jax.random.normal(jax.random.key(0), (1, 2, 32, 32, 3))
    variables = random_params(MODEL.init, clip, None, method="regress")
    estimator = Estimator(MODEL, variables, mannequin())
    assert (estimator.image_size, estimator.clip_length) == (32, 4)
    got = estimator(clip)
    apply = jax.jit(functools.partial(MODEL.apply, vertices=True))
    expected = apply(variables, clip, mannequin())
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(got, name), value, atol=1e-4, err_msg=name)
    points = estimator(clip, vertices=False)
    assert points.verts is None
    np.testing.assert_allclose(points.keypoints_3d, got.keypoints_3d, atol=1e-5)


def test_a_body_that_cannot_give_keypoints_is_refused_at_once():
    bare = dataclasses.replace(mannequin(), landmark_regressor=None)
    with pytest.raises(UserError, match="J_regressor_extra.npy"):
        Estimator(MODEL, {}, bare)


def test_the_first_call_may_be_traced():
    clip = jax.random.normal(jax.random.key(0), (1, 2, 32, 32, 3))
    variables = random_params(MODEL.init, clip, None, method="regress")
    estimator = Estimator(MODEL, variables, mannequin())
    traced = jax.jit(lambda clip: estimator(clip, vertices=False).pose)(clip)
    np.testing.assert_allclose(estimator(clip, vertices=False).pose, traced, atol=1e-5)


def test_the_package_offers_its_names_and_says_what_they_are():
    for name in maed_jax.__all__:
        assert getattr(maed_jax, name) is not None
        assert name in dir(maed_jax) and f"\n{name}  " in maed_jax.__doc__
    assert "__version__" in dir(maed_jax)


def test_editors_find_the_names_where_they_are():
    source = ast.parse(Path(maed_jax.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in source.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    for node in block.body:
        for alias in node.names:
            assert alias.asname == alias.name  # marks it as public for type checkers
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert imported == maed_jax._EXPORTS


@pytest.fixture(scope="module")
def estimator():
    clip = np.zeros((1, 2, 32, 32, 3), np.float32)
    return Estimator(MODEL, random_params(MODEL.init, clip, None, method="regress"), mannequin())


def test_pixels_are_normalised(estimator):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 32, 32, 3), np.uint8)

    def pose(clip):
        return estimator(clip, vertices=False).pose

    expected = pose(normalise(pixels))
    for other in (pose, jax.jit(pose), lambda clip: jax.vmap(pose)(clip[None])[0]):
        np.testing.assert_allclose(other(pixels), expected, atol=1e-5)
    with pytest.raises(UserError, match="clips must be uint8 RGB pixels, or float32 .*, not int32"):
        estimator(pixels.astype(np.int32))


def test_it_is_printed_and_compared_without_its_arrays(estimator):
    assert len(repr(estimator)) < 2000 and "margin=1.3" in repr(estimator)
    other = dataclasses.replace(estimator)
    assert estimator == estimator and estimator != other and len({estimator, other}) == 2


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(wrong):
    good, bad = np.zeros((2, 3)), np.array([0.0, wrong])
    check_finite(good, good)
    with pytest.raises(UserError, match="has diverged; use an earlier checkpoint"):
        check_finite(good, bad)
