import numpy as np

from maed_jax.data.pixels import nearest, rescaled


def test_places_stay_on_what_they_show():
    """Where pixels are one, two or three times as large: the same share of the way across."""
    points = np.array([[-0.5, -0.5], [0, 1], [79.5, 59.5]])  # an edge, pixels' centres, an edge
    np.testing.assert_allclose(rescaled(points, 3), [[-0.5, -0.5], [1, 4], [239.5, 179.5]])
    np.testing.assert_allclose(rescaled(rescaled(points, 0.3), 1 / 0.3), points, atol=1e-12)
    np.testing.assert_allclose(rescaled(points, np.array([1, 2]))[1], [0, 2.5])


def test_opencv_takes_the_pixel_of_any_point():
    assert nearest(np.array([1.6, -2.4])) == (2, -2)
    assert nearest(np.array([1e12, -np.inf])) == (32000, -32000)
