import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_videos import draw_figure, figure_images

from maed_jax.errors import UserError
from maed_jax.inference.detect import make_detector
from maed_jax.inference.hog import MAX_RATIO, NEAR, PERSON_CENTRE, PERSON_HEIGHT, HogDetector

CROWD = figure_images([[(40, 150), (130, 130), (330, 190)]], (300, 360), 180)[0]
BOXES = st.tuples(st.floats(0, 360), st.floats(0, 300), st.just(50.0), st.floats(60, 400))


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


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_box_at_the_upper_or_lower_edge_is_whole(upside_down):
    """OpenCV returns the part of a window that is inside the image."""
    image = np.full((260, 320, 3), 190, np.uint8)
    draw_figure(image, 160, 260 - 92 if not upside_down else 92, 180)
    box = HogDetector()(image).boxes[0]
    assert 0.9 * 180 < box[3] < 1.15 * 180
    assert box[1] == pytest.approx(92 if upside_down else 168, abs=10)


def test_nobody():
    found = HogDetector()(np.full((240, 320, 3), 120, np.uint8))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (100, 300), (300, 40)])
def test_images_smaller_than_a_window(size):
    image, hog = np.zeros((*size, 3), np.uint8), HogDetector()
    assert hog(image).boxes.shape == (0, 4)
    assert hog.redetect_near(image, np.array([[20.0, 50, 50, 100]])).boxes.shape == (0, 4)


def test_an_opencv_without_hog(monkeypatch):
    monkeypatch.delattr(cv2, "HOGDescriptor")
    with pytest.raises(UserError, match="opencv-contrib-python-headless"):
        make_detector("hog")


@given(st.lists(BOXES, max_size=4))
def test_windows_near_boxes_are_a_subset_of_a_complete_search(boxes):
    boxes, hog = np.array(boxes, np.float32).reshape(-1, 4), HogDetector()
    everywhere = {(*place, margin) for place, margin in _plain(hog.windows(CROWD))}
    near = [(*place, margin) for place, margin in _plain(hog.windows_near(CROWD, boxes))]
    assert len(near) == len(set(near)) and set(near) <= everywhere  # bit-identical
    for left, top, width, height, margin in everywhere:
        whole = left > 0 and top > 0 and left + width < 360 and top + height < 300
        centre = np.array([left, top]) + PERSON_CENTRE * [width, height]
        aside = np.abs(boxes[:, :2] - centre).max(axis=1, initial=0) / boxes[:, 3]
        ratio = boxes[:, 3] / (height * PERSON_HEIGHT)
        unlike = np.maximum(ratio, 1 / ratio) / MAX_RATIO
        inside = (aside < 0.95 * NEAR) & (unlike < 0.99)  # not decided by rounding
        outside = (aside > 1.05 * NEAR) | (unlike > 1.01)
        if whole and inside.any():
            assert (left, top, width, height, margin) in near
        if whole and outside.all():
            assert (left, top, width, height, margin) not in near


def _plain(windows):
    return [(tuple(place), margin) for place, margin in zip(*(a.tolist() for a in windows))]


def test_searching_near_people_gives_the_same_boxes():
    hog = HogDetector()
    whole = hog(CROWD)
    again = hog.redetect_near(CROWD, whole.boxes + np.float32([8, -5, 0, 0]))
    sure = whole.scores > hog.sure_score
    assert sure.sum() == 3
    np.testing.assert_allclose(again.scores[: sure.sum()], whole.scores[sure], rtol=1e-6)
    np.testing.assert_allclose(again.boxes[: sure.sum()], whole.boxes[sure], atol=6)


def test_without_boxes_nothing_is_searched(monkeypatch):
    monkeypatch.setattr(HogDetector, "_search", None)  # a call would fail
    assert HogDetector().redetect_near(CROWD, np.zeros((0, 4))).boxes.shape == (0, 4)
