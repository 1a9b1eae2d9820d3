import jax
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from maed_jax.body import camera

SIZE = (720, 1280)  # height, width


def people(seed, count=8):
    """Cameras, boxes and points of people 20 to 600 pixels tall, anywhere in the image."""
    rng = np.random.default_rng(seed)
    cameras = np.stack([rng.uniform(0.4, 1.3, count), *rng.uniform(-0.3, 0.3, (2, count))], -1)
    boxes = np.stack([rng.uniform(0, SIZE[1], count), rng.uniform(0, SIZE[0], count),
                      rng.uniform(20, 600, count)], -1)  # fmt: skip
    points = rng.uniform(-1, 1, (count, 30, 3)) * [0.9, 0.9, 0.3]
    return [array.astype(np.float32) for array in (cameras, boxes, points)]


def crop_pixels(points, cameras, boxes):
    """Projects points with the crop's camera to pixels of the image."""
    crop = np.asarray(camera.project(points, cameras))
    return boxes[:, None, :2] + crop * boxes[:, None, 2:] / 2


def intrinsics(focal):
    return np.array([focal, focal, SIZE[1] / 2, SIZE[0] / 2], np.float32)


def image_pixels(points, translation, focal):
    """Projects points [n 30 3] moved by `translation` [n 3] with the image's camera."""
    moved = points + np.asarray(translation)[:, None]
    return moved[..., :2] / moved[..., 2:] * focal + np.array(SIZE[::-1]) / 2


def test_projection_by_hand():
    # At s = 1 and depth 0, the crop shows the world from -1 m to 1 m.
    points = np.array([[0, 0, 0], [1, -1, 0], [0.5, 0, 2]], np.float32)
    found = camera.project(points, np.array([1, 0, 0], np.float32))
    depth = 2 * 5000 / 224
    np.testing.assert_allclose(found, [[0, 0], [1, -1], [0.5 * depth / (depth + 2), 0]], atol=1e-5)
    moved = camera.project(points[:1], np.array([0.5, 0.2, -0.4], np.float32))
    np.testing.assert_allclose(moved, [[0.1, -0.2]], atol=1e-6)


# Scales that put the body far away, infinitely far up to rounding, and at the lens.
@pytest.mark.parametrize("s", [0, -1e-9 / 224, -2 * 5000 / 224 / 0.5])
def test_no_scale_is_divided_by_zero(s):
    points = np.array([[0.3, 0.1, 0.5], [1, 1, 1]], np.float32)

    @jax.value_and_grad
    def total(cam):
        return camera.project(points, cam).sum()

    value, gradient = total(np.array([s, 0.2, 0.1], np.float32))
    assert np.isfinite(value) and np.isfinite(gradient).all()
    box = np.array([10, 10, 224], np.float32)
    there = camera.camera_from_crop_to_image(gradient * 0 + s, box, intrinsics(1000))
    assert np.isfinite(there).all()


@pytest.mark.parametrize("focal", [400.0, 1200.0, 5000.0])
@examples(10)
@given(seed=st.integers(0, 10_000))
def test_the_image_camera_agrees_with_the_crop(focal, seed):
    cameras, boxes, points = people(seed)
    translation = camera.camera_from_crop_to_image(cameras, boxes, intrinsics(focal))
    flat = points * np.array([1, 1, 0], np.float32)
    # At the pelvis's depth: the same pixels.
    found = image_pixels(flat, translation, focal)
    np.testing.assert_allclose(found, crop_pixels(flat, cameras, boxes), atol=0.02)
    # Elsewhere: parallax, because the image's camera is closer than the crop's.
    found = image_pixels(points, translation, focal)
    expected = crop_pixels(points, cameras, boxes)
    depth = np.asarray(translation)[:, None, 2:]
    near = np.abs(points[..., 2:])
    ahead = depth > 2 * near  # excludes people who reach the camera
    offset = np.abs(crop_pixels(flat, cameras, boxes) - np.array(SIZE[::-1]) / 2)
    own = np.abs(crop_pixels(flat, cameras, boxes) - boxes[:, None, :2]) * near / 20
    bound = offset * near / (depth - near) + own + 0.02
    assert np.all((np.abs(found - expected) <= bound) | ~ahead)


def test_a_person_of_known_place():
    # With focal length 1000, 500 pixels show 2 m at 4 m; the box is 125 pixels off centre.
    crop, box = np.array([1, 0, 0], np.float32), np.array([765, 485, 500], np.float32)
    translation = camera.camera_from_crop_to_image(crop, box, intrinsics(1000))
    np.testing.assert_allclose(translation, [0.5, 0.5, 4], atol=1e-5)


def test_default_focal_is_the_diagonal():
    assert camera.default_focal((300, 400)) == 500
