import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maed_jax.inference.detections import iou, merge


def boxes_of(count):
    low = arrays(np.float32, (count, 2), elements=st.integers(0, 200))
    size = arrays(np.float32, (count, 2), elements=st.integers(1, 100))
    return st.builds(lambda a, b: np.concatenate([a, b], axis=1), low, size)


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
    # means stay within the range of their inputs
    assert (merged.boxes.min(0) >= boxes.min(0) - 1e-3).all()
    assert (merged.boxes.max(0) <= boxes.max(0) + 1e-3).all()


def test_merge_votes_by_score():
    boxes = np.array([[10, 10, 10, 20], [12, 10, 10, 20], [90, 10, 10, 20]], np.float32)
    merged = merge(boxes, np.array([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(merged.boxes[:, 0], [10.5, 90])
    np.testing.assert_allclose(merged.scores, [3, 2])
