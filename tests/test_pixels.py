import numpy as np

from maed_jax.data.pixels import nearest, project, rescaled


def test_places_stay_on_what_they_show():
    """For one, two or three times as many pixels, the relative position is the same."""
    points = np.array([[-0.5, -0.5], [0, 1], [79.5, 59.5]])  # an edge, pixel centres, an edge
    np.testing.assert_allclose(rescaled(points, 3), [[-0.5, -0.5], [1, 4], [239.5, 179.5]])
    np.testing.assert_allclose(rescaled(rescaled(points, 0.3), 1 / 0.3), points, atol=1e-12)
    np.testing.assert_allclose(rescaled(points, np.array([1, 2]))[1], [0, 2.5])


def test_projection_by_hand():
    points = np.array([[[0, 0, 2], [1, -1, 4.0]]])
    found = project(points, np.array([100, 200, 60, 50]))
    np.testing.assert_allclose(found, [[[60, 50], [85, 0]]])


def test_opencv_takes_the_pixel_of_any_point():
    assert nearest(np.array([1.6, -2.4])) == (2, -2)
    assert nearest(np.array([1e12, -np.inf])) == (32000, -32000)
