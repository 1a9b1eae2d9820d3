"""datasets/pinhole.py: the camera fitted to labels."""

import numpy as np
import pytest

from maed_jax.data.pixels import project
from maed_jax.datasets.pinhole import fit_intrinsics

CAMERA = np.array([1500.0, 1480, 1020, 560])


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(0, 0.7, (200, 3)) + (0.3, 0.1, 4)


def test_the_camera_comes_back(points):
    pixels = project(points, CAMERA)
    np.testing.assert_allclose(fit_intrinsics(points, pixels), CAMERA, rtol=1e-9)
    np.testing.assert_allclose(fit_intrinsics(1000 * points, pixels), CAMERA, rtol=1e-9)
    pixels[::10] = np.nan
    points[5] = -points[5]  # behind the camera
    np.testing.assert_allclose(fit_intrinsics(points, pixels), CAMERA, rtol=1e-9)


def test_what_no_pinhole_explains_is_unknown(points):
    pixels = project(points, CAMERA)
    assert not fit_intrinsics(points, pixels[::-1]).any()
    assert not fit_intrinsics(points * (-1, 1, 1), pixels).any(), "a mirror image"
    assert not fit_intrinsics(points[:5], pixels[:5]).any()
