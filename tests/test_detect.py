import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_videos import figure_images

from maed_jax.errors import UserError
from maed_jax.inference.detect import HogDetector, iou, make_detector, merge


def boxes_of(count):
    low = arrays(np.float32, (count, 2), elements=st.integers(0, 200))
    size = arrays(np.float32, (count, 2), elements=st.integers(1, 100))
    return st.builds(lambda a, b: np.concatenate([a, b], axis=1), low, size)


@pytest.mark.parametrize("height", [150, 180, 210])
def test_hog_finds_a_standing_figure_and_its_box_is_tight(height):
    found = HogDetector()(figure_images([[(170, 150)]], (300, 360), height)[0])
    assert found.scores[0] > 1
    x, y, w, h = found.boxes[0]
    assert abs(x - 170) < 0.06 * height and abs(y - 150) < 0.06 * height
    assert 0.9 * height < h < 1.2 * height and w == pytest.approx(h / 2, rel=0.01)


def test_hog_leaves_opencv_without_threads_that_mix_up_its_scores():
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        HogDetector()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(threads)


def test_hog_finds_two_and_tells_them_apart():
    found = HogDetector()(figure_images([[(80, 130), (260, 120)]], (260, 360), 180)[0])
    sure = found.boxes[found.scores > 0.5]
    assert len(sure) == 2
    np.testing.assert_allclose(np.sort(sure[:, 0]), [80, 260], atol=10)


def test_a_box_at_the_edge_stays_centred_on_the_person():
    found = HogDetector()(figure_images([[(30, 120)]], (240, 320), 180)[0])
    assert found.boxes[0, 0] == pytest.approx(30, abs=14)


def test_nobody():
    found = HogDetector()(np.full((240, 320, 3), 120, np.uint8))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (100, 300), (300, 40)])
def test_pictures_smaller_than_a_window(size):
    assert HogDetector()(np.zeros((*size, 3), np.uint8)).boxes.shape == (0, 4)


def test_unknown_detector():
    with pytest.raises(UserError, match="no detector 'yolo'; choose hog or"):
        make_detector("yolo")


def test_an_opencv_without_hog(monkeypatch):
    monkeypatch.delattr(cv2, "HOGDescriptor")
    with pytest.raises(UserError, match="opencv-contrib-python-headless"):
        make_detector("hog")


@given(boxes_of(7), boxes_of(4))
def test_iou(a, b):
    ratio = iou(a, b)
    assert ratio.shape == (7, 4) and (0 <= ratio).all() and (ratio <= 1 + 1e-9).all()
    np.testing.assert_allclose(ratio, iou(b, a).T)
    np.testing.assert_allclose(np.diag(iou(a, a)), 1)


def test_iou_by_hand():
    box, half = [[10, 10, 20, 20]], [[15, 10, 10, 20]]
    assert iou(box, half)[0, 0] == pytest.approx(0.5)
    assert iou(half, box, over="first")[0, 0] == 1
    assert iou(box, [[100, 10, 20, 20]])[0, 0] == 0


@given(boxes_of(9), arrays(np.float32, 9, elements=st.integers(1, 9)))
def test_merge_keeps_the_best_of_each_group(boxes, scores):
    merged = merge(boxes, scores)
    assert 1 <= len(merged.boxes) <= 9 and merged.scores[0] == scores.max()
    assert (np.diff(merged.scores) <= 0).all()
    # means stay within what they are means of
    assert (merged.boxes.min(0) >= boxes.min(0) - 1e-3).all()
    assert (merged.boxes.max(0) <= boxes.max(0) + 1e-3).all()


def test_merge_votes_by_score():
    boxes = np.array([[10, 10, 10, 20], [12, 10, 10, 20], [90, 10, 10, 20]], np.float32)
    merged = merge(boxes, np.array([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(merged.boxes[:, 0], [10.5, 90])
    np.testing.assert_allclose(merged.scores, [3, 2])
