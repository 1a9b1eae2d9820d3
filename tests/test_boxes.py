import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from maed_jax.data.boxes import box_from_keypoints, smooth_boxes


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "cropping.npz")


def test_boxes_are_those_of_the_original(golden):
    boxes = box_from_keypoints(golden["bbox_kp"])
    np.testing.assert_allclose(boxes, golden["bbox_from_kp2d"], rtol=1e-10)


def test_smoothed_boxes_are_those_of_the_original(golden):
    boxes = box_from_keypoints(golden["smooth_kp"], diagonal=True)
    smooth = smooth_boxes(boxes, zero_padded=True)
    first, last = golden["smooth_range"]
    assert not np.isfinite(boxes[:first]).any() and np.isnan(boxes).any(axis=1).sum() > first
    # The original stores 150 / diagonal of the keypoints' extent.
    zoom = 150 * 1.1 / smooth[:, 2]
    np.testing.assert_allclose(smooth[first:last, :2], golden["smooth_bbox"][first:last, :2])
    np.testing.assert_allclose(zoom[first:last], golden["smooth_bbox"][first:last, 2])
    np.testing.assert_allclose(smooth[:first], smooth[[first] * first])  # held before the first


def test_unseen_keypoints_do_not_count():
    points = np.array([[10.0, 20, 1], [30, 60, 1], [900, 900, 0.3], [np.nan, 5, 1]])
    np.testing.assert_allclose(box_from_keypoints(points, margin=1.0), [20, 40, 40, 40])
    assert np.isnan(box_from_keypoints(points[2:])).all()
    assert np.isnan(box_from_keypoints(points[:1])).all()  # no extent


@pytest.mark.parametrize("diagonal", [False, True])
def test_boxes_grow_with_what_is_in_them_however_small(diagonal):
    points = np.random.default_rng(0).uniform(0, 100, (3, 17, 2))
    boxes = box_from_keypoints(points, diagonal=diagonal)
    for scale in (1e-4, 30):
        found = box_from_keypoints(scale * points, diagonal=diagonal)
        np.testing.assert_allclose(found, scale * boxes)


def test_zeros_are_padded_unless_nothing_else_would_remain():
    """Among six boxes and five zeros, the median is the smallest of the boxes' values."""
    x, y, w, h = np.random.default_rng(0).uniform(20, 80, (4, 6))
    six = np.stack([x, y, w, h], -1)
    smallest = [x.min(), y.min(), w.max(), h.max()]
    found = smooth_boxes(six, zero_padded=True)
    np.testing.assert_allclose(found, np.tile(smallest, (6, 1)))
    np.testing.assert_array_equal(smooth_boxes(six[:5], zero_padded=True), smooth_boxes(six[:5]))


@examples(30)
@given(st.integers(1, 40), st.integers(0, 10**6), st.booleans())
def test_steady_boxes_stay_and_gaps_close(length, seed, zero_padded):
    rng = np.random.default_rng(seed)
    box = rng.uniform(50, 100, 4)
    boxes = np.tile(box, (length, 1))
    boxes[rng.random(length) < 0.4] = np.nan
    boxes[rng.integers(length)] = box
    if not zero_padded:
        np.testing.assert_allclose(smooth_boxes(boxes), np.tile(box, (length, 1)))
    else:
        assert smooth_boxes(boxes, zero_padded=True).shape == (length, 4)


def test_an_outlier_is_taken_out():
    boxes = np.tile([50.0, 60, 20, 40], (30, 1))
    boxes[12] = [900, 0, 500, 3]
    np.testing.assert_allclose(smooth_boxes(boxes), np.tile([50.0, 60, 20, 40], (30, 1)))


def test_a_track_without_boxes_is_refused():
    with pytest.raises(ValueError):
        smooth_boxes(np.full((4, 4), np.nan))
