import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maed_jax.inference.detections import Detections
from maed_jax.inference.track import (
    MAX_GAP,
    Track,
    Tracker,
    fill,
    interpolated,
    match,
    steady_sizes,
)

FPS = 10


def track(frames_of_boxes, fps=FPS, sure=0.5, parts=True):
    """Runs a tracker over lists, one per frame, of (x, y, height, score)."""
    tracker = Tracker(fps, sure, parts)
    for frame, people in enumerate(frames_of_boxes):
        table = np.array(people, np.float32).reshape(-1, 4)
        boxes = np.stack([table[:, 0], table[:, 1], table[:, 2] / 2, table[:, 2]], axis=-1)
        tracker.step(frame, Detections(boxes, table[:, 3]))
    return tracker.finish(len(frames_of_boxes))


def walk(count, start=100.0, speed=4.0, height=100.0, score=1.0, y=200.0):
    return [[(start + speed * i, y, height, score)] for i in range(count)]


def both(a, b):
    return [x + y for x, y in zip(a, b)]


def test_one_person():
    (found,) = track(walk(30))
    assert found.id == 1 and found.detected.all()
    np.testing.assert_array_equal(found.frames, np.arange(30))
    np.testing.assert_allclose(found.boxes[:, 0], 100 + 4 * np.arange(30), rtol=1e-6)


@given(st.sets(st.integers(0, 39), max_size=12))
def test_gaps_are_interpolated_and_marked(missed):
    people = [[] if i in missed else p for i, p in enumerate(walk(40))]
    tracks = track(people)
    # never split, and no frame twice
    (found,) = tracks
    assert (np.diff(found.frames) == 1).all()
    inner = found.boxes[(found.frames >= min(set(range(40)) - missed))
                        & (found.frames <= max(set(range(40)) - missed)), 0]  # fmt: skip
    assert np.allclose(np.diff(inner), 4, atol=1e-3)
    assert set(found.frames[~found.detected]) <= missed
    assert (found.scores[~found.detected] == 0).all()


def test_ends_are_held_only_beside_the_ends_of_the_video():
    people = [[]] * 5 + walk(30) + [[]] * 5  # half a second
    (found,) = track(people)
    np.testing.assert_array_equal(found.frames, np.arange(40))
    assert not found.detected[:5].any() and not found.detected[-5:].any()
    np.testing.assert_array_equal(found.boxes[0], found.boxes[5])
    (found,) = track([[]] * 6 + walk(30) + [[]] * 6)
    np.testing.assert_array_equal(found.frames, np.arange(6, 36))


def test_a_long_absence_ends_a_track():
    gone = [[]] * (int(MAX_GAP * FPS) + 2)
    first, second = track(walk(20) + gone + walk(20, start=180))
    assert first.frames[-1] == 19 and second.frames[0] == 20 + len(gone)


def test_a_missed_frame_does_not_end_a_track_at_low_frame_rates():
    assert len(track(walk(5) + [[]] + walk(5, start=124), fps=0.5)) == 1


def found_again(before, missed, after):
    return len(track(before + [[]] * missed + after)) == 1


def test_motion_is_expected_to_go_on_for_half_a_second():
    fast, start = walk(20, speed=20), 100 + 20 * 24
    assert found_again(fast, 4, walk(20, start, speed=20))
    assert found_again(fast[:3], 3, walk(20, fast[6][0][0], speed=20))  # from the first steps on
    assert found_again(walk(20, speed=6), 12, walk(20, 214, speed=0)), "also when they stop"
    stood = walk(30, speed=0) + walk(11, speed=20)  # has walked for a second
    assert found_again(stood, 4, walk(20, 100 + 20 * 15, speed=20))


def test_jitter_of_boxes_is_not_motion():
    shaking = [[(100 + 9 * (-1) ** i, 200, 100, 1.0)] for i in range(40)]
    for end in (20, 21):
        assert all(found_again(shaking[:end], 4, shaking[i:20]) for i in (0, 1))


def test_people_who_come_nearer_grow():
    (found,) = track([[(100, 200, 60 * 1.04**i, 1.0)] for i in range(40)])
    assert len(found.frames) == 40 and found.detected.all()


def test_how_far_and_how_much_larger_the_same_person_may_be():
    """Up to three quarters of a width aside, and two thirds of the height; not a whole, or half."""

    def same(aside=0.0, scale=1.0):
        box = np.array([100, 100, 40, 80])
        return bool(match([box], [box * [1, 1, scale, scale] + [40 * aside, 0, 0, 0]]))

    assert same(aside=0.75) and not same(aside=0.85)
    assert same(scale=0.65) and same(scale=1 / 0.65)
    assert not same(scale=0.58) and not same(scale=1 / 0.58)


def test_a_box_of_ones_own_size_is_preferred_to_one_that_overlaps_more():
    assert match([[100, 100, 40, 80]], [[100, 100, 34, 68], [110, 100, 40, 80]]) == [(0, 1)]
    row = np.array([[0, 0, 40, 80], [60, 0, 40, 80], [28, 0, 40, 80], [-35, 0, 40, 80]])
    assert match(row[:2], row[2:]) == [(0, 0)], "a possible pair beats two impossible"


def test_crossing_people_keep_their_numbers():
    found = track(both(walk(50, 100, 8), walk(50, 492, -8, y=210)))
    assert len(found) == 2
    for person, speed in zip(sorted(found, key=lambda t: t.boxes[0, 0]), (8, -8)):
        np.testing.assert_allclose(np.diff(person.boxes[:, 0]), speed, atol=1e-3)


@pytest.mark.parametrize("score", [0.3, 1.0])
def test_a_hidden_person_does_not_follow_the_legs_of_the_one_in_front(score):
    near, far = walk(50, 100, 8, height=200), walk(50, 492, -8, height=138, y=190)
    legs = walk(50, 100, 8, height=115, y=240, score=score)
    hidden = range(22, 28)
    people = [a + (b if i in hidden else c) for i, (a, b, c) in enumerate(zip(near, legs, far))]
    found = track(people)
    assert len(found) == 2 and all(len(t.frames) == 50 for t in found)
    small = min(found, key=lambda t: t.boxes[0, 3])
    np.testing.assert_allclose(small.boxes[:, 0], 492 - 8 * np.arange(50), atol=10)


@pytest.mark.parametrize("step, followed", [(5, True), (12.5, False)])
def test_a_small_box_in_front_of_a_large_one_is_a_part_unless_expected(step, followed):
    passing = walk(50, 100, 8, height=200)
    far = walk(25, 300, 0, y=240) + walk(25, 300 + step, 0, y=240)  # steps aside when covered
    small = min(track(both(passing, far)), key=lambda t: t.boxes[0, 3])
    assert small.detected[25] == followed and len(small.frames) == 50


def test_weak_boxes_keep_a_track_alive_but_start_none():
    weak = walk(30, score=0.3)
    assert track(weak) == []
    people = [p if i < 20 else w for i, (p, w) in enumerate(zip(walk(30), weak))]
    (found,) = track(people)
    assert found.detected.all() and found.frames[-1] == 29


def test_weak_boxes_before_the_first_sure_one_belong_to_the_track():
    people = walk(20, score=0.3) + walk(20, start=180)
    (found,) = track([[]] * 20 + people)
    np.testing.assert_array_equal(found.frames, np.arange(20, 60))
    assert found.detected.all()
    (found,) = track(people)
    assert found.detected.all()
    some = [p if i >= 20 or i % 3 == 0 else [] for i, p in enumerate(people)]
    (found,) = track([[]] * 20 + some)
    np.testing.assert_array_equal(found.frames, np.arange(20, 60))


def test_the_first_box_of_a_track_is_nobody_elses():
    leaving, coming = [[]] * 10 + walk(30, 100, 8), [[]] * 20 + walk(20, 105, 0)
    assert [int(t.frames[0]) for t in track(both(leaving, coming))] == [10, 20]


def test_sure_boxes_come_before_weak_ones_that_lie_nearer():
    sure = walk(10) + walk(30, start=152)  # a step aside
    weak = [[]] * 10 + walk(30, start=140, score=0.3)
    (found,) = track(both(sure, weak))
    np.testing.assert_array_equal(found.frames, np.arange(40))
    np.testing.assert_allclose(found.boxes[:, 0], [frame[0][0] for frame in sure])
    assert (found.scores == 1).all()


def test_a_box_before_two_tracks_belongs_to_one_of_them():
    weak = walk(10, start=112, speed=0, score=0.3) + [[]] * 30
    pair = [[]] * 10 + both(walk(30, 100, 0), walk(30, 125, 0))
    found = track([[]] * 20 + both(weak, pair))
    assert [int(t.frames[0]) for t in found] == [20, 30]


@pytest.mark.parametrize("aside, below", [(0, 130), (65, 0)])
def test_people_keep_their_places_whatever_the_order_of_their_boxes(aside, below):
    one, other = walk(30, 100, 0, y=200), walk(30, 100 + aside, 0, y=200 + below)
    found = track(both(one[:15] + other[15:], other[:15] + one[15:]))
    assert {tuple(t.boxes[0, :2]) for t in found} == {(100, 200), (100 + aside, 200 + below)}
    assert all(np.ptp(t.boxes, 0).max() == 0 for t in found)


def test_people_who_meet_for_a_while_only_are_two():
    coming, going = [[]] * 30 + walk(40, 110, 0), walk(40, 100, 0) + [[]] * 30
    assert len(track(both(going, coming))) == 2


def test_flickers_are_not_people():
    flicker = [[] for _ in range(60)]
    flicker[17], flicker[40] = [(400, 100, 90, 0.8)], [(50, 100, 90, 0.9)]
    tree = [[(600, 150, 80, 0.6 if i % 8 == 0 else 0.2)] for i in range(60)]
    (found,) = track(both(both(walk(60), flicker), tree))
    assert found.boxes[0, 0] == pytest.approx(100)


@pytest.mark.parametrize("fps, frames, least", [(20, 40, 10), (10, 40, 5), (4, 40, 3), (10, 4, 2)])
def test_somebody_is_seen_for_a_while(fps, frames, least):
    """Half a second, three frames, or a third of a very short video."""
    for seen in (least - 1, least):
        assert len(track(walk(seen) + [[]] * (frames - seen), fps)) == (seen == least)


@pytest.mark.parametrize("every, somebody", [(3, True), (4, False)])
def test_somebody_is_seen_in_a_third_of_the_frames_and_without_doubt_in_a_third_of_these(
    every, somebody
):
    seen = [p if i % every == 0 else [] for i, p in enumerate(walk(40, speed=8))]
    assert len(track(seen)) == somebody
    sure = [walk(40, score=1.0 if i % every == 0 else 0.3)[i] for i in range(40)]
    assert len(track(sure)) == somebody


def test_one_frame_is_a_video_too():
    (found,) = track(walk(1))
    np.testing.assert_array_equal(found.frames, [0])


def test_legs_are_part_of_a_person_whichever_came_first():
    legs = walk(40, height=50, y=222, score=1.3)
    assert len(track(both(walk(40), legs))) == 1
    (found,) = track([legs[i] if i < 5 else both(walk(40), legs)[i] for i in range(40)])
    assert np.median(found.boxes[:, 3]) == pytest.approx(100)


def test_the_same_person_at_two_sizes_is_one():
    """Like people who bend, for HOG: no duplicate, and rarely small enough to be a part."""
    smaller = walk(40, start=108, height=76, y=212, score=0.8)
    assert len(track(both(walk(40), smaller))) == 1


def test_a_child_in_front_of_a_parent_is_a_person_if_parts_are_not_detected():
    child = walk(40, height=50, y=222, score=0.9)
    assert len(track(both(walk(40), child), parts=False)) == 2
    assert len(track(both(walk(40), walk(40, start=101)), parts=False)) == 1, "a duplicate"
    aside = walk(20, 100, 0, height=50) + walk(20, 108, 0, height=50)  # steps aside
    found = track(both(walk(40, speed=0), aside), parts=False)
    assert len(found) == 2 and all(t.detected.all() for t in found)


def test_a_box_around_somebody_for_a_short_while_is_nobody():
    around = [[(100 + 4 * i, 180, 180, 1.0)] if 40 <= i < 52 else [] for i in range(60)]
    (found,) = track(both(walk(60), around))
    assert found.boxes[:, 3].max() < 120
    near = [[(100 + 4 * i, 180, 180, 1.0)] if 20 <= i else [] for i in range(60)]
    assert len(track(both(walk(60), near))) == 1, "over a long time, the small one is the part"
    (found,) = track(both(walk(60), [[(100 + 4 * i, 180, 180, 0.5)] for i in range(60)]))
    assert found.boxes[:, 3].max() < 120, "the better one stays"
    aside = [[(300, 180, 180, 1.0)] if 40 <= i < 52 else [] for i in range(60)]
    assert len(track(both(walk(60, speed=0), aside))) == 2


@pytest.mark.parametrize("frames, people", [(18, 1), (25, 2)])
def test_nobody_is_a_large_box_around_somebody_for_less_than_a_third_of_the_time(frames, people):
    around = [[(100, 100, 400, 1.0)] if 10 <= i < 10 + frames else [] for i in range(60)]
    assert len(track(both(walk(60, speed=0), around))) == people


@pytest.mark.parametrize("height, fraction, later, people", [
    (50, 0.72, 0.2, 1), (50, 0.58, 0.2, 2), (80, 0.72, 0.2, 2),  # a part most of the time,
    (100, 0.8, 0.2, 1), (100, 0.7, 0.2, 2),  # or a duplicate,
    (80, 0.68, 0.68, 1), (80, 0.5, 0.5, 2),  # or mostly inside
])  # fmt: skip
def test_tracks_that_duplicate_another(height, fraction, later, people):
    """`fraction` of the box lies in the other's, for three fifths of the time."""
    aside = [125 + height / 4 - height / 2 * s for s in [fraction] * 24 + [later] * 16]
    other = [[(x, 250 - height / 2, height, 1.0)] for x in aside]
    assert len(track(both(walk(40, speed=0), other))) == people


def test_people_who_never_meet_are_not_compared(monkeypatch):
    """In a long video, these are nearly all pairs."""

    def compared(*_):
        raise AssertionError("their boxes were looked at")

    gone = [[]] * (int(MAX_GAP * FPS) + 2)
    people = [frame for _ in range(5) for frame in walk(9) + gone] + walk(40)
    with monkeypatch.context() as patch:
        patch.setattr("maed_jax.inference.track._common_boxes", compared)
        found = track(people)
    assert [int(t.frames[0]) for t in found] == [26 * i for i in range(6)]
    assert len(track(both(people, walk(len(people), y=600)))) == 7


def test_two_of_the_same_size_side_by_side_are_two():
    assert len(track(both(walk(40), walk(40, start=125)))) == 2


def test_order_and_numbers_follow_appearance():
    late = [[]] * 20 + walk(30, start=600)
    found = track(both(walk(50), late))
    assert [t.id for t in found] == [1, 2]
    assert [int(t.frames[0]) for t in found] == [0, 20]
    found = track(both(walk(20), walk(20, start=600, height=150)))
    assert [round(float(t.boxes[0, 3])) for t in found] == [150, 100], "the larger one first"


def test_frames_may_be_left_out():
    tracker = Tracker(FPS, sure=0.5, parts=True)
    for frame, people in enumerate(walk(20)):
        if frame not in (7, 8):
            x, y, h, score = people[0]
            tracker.step(frame, Detections(np.array([[x, y, h / 2, h]]), np.array([score])))
    (found,) = tracker.finish(20)
    assert len(found.frames) == 20 and list(found.frames[~found.detected]) == [7, 8]


def test_nobody():
    assert track([[]] * 10) == [] and track([]) == []


def test_sizes_are_steadied_and_wrong_ones_found():
    boxes = np.tile(np.array([[50, 60, 40, 80]], np.float32), (21, 1))
    boxes[:, 2:] *= np.random.default_rng(0).uniform(0.9, 1.1, (21, 1))
    boxes[8, 2:] = (20, 40)
    steady, right = steady_sizes(np.arange(21), boxes, reach=7)
    assert list(np.flatnonzero(~right)) == [8]
    assert np.ptp(steady[:, 3]) < np.ptp(np.delete(boxes[:, 3], 8)) / 2
    np.testing.assert_array_equal(steady[:, :2], boxes[:, :2])
    back, _ = steady_sizes(np.arange(21), boxes[::-1], reach=7)
    np.testing.assert_array_equal(back[::-1], steady)


def test_a_size_off_by_a_third_is_wrong():
    boxes = np.tile(np.array([[50, 60, 40, 80]], np.float32), (40, 1))
    boxes[[5, 15, 25, 35], 2:] *= np.array([[0.7], [0.8], [1 / 0.8], [1 / 0.7]])
    assert list(np.flatnonzero(~steady_sizes(np.arange(40), boxes, reach=7)[1])) == [5, 35]


@pytest.mark.parametrize("length, steady", [(6, True), (12, False)])
def test_sizes_that_change_for_less_than_a_second_do_not(length, steady):
    people = [
        [(x, y, h * 0.85 if 30 <= i < 30 + length else h, score)]
        for i, [(x, y, h, score)] in enumerate(walk(60))
    ]
    (found,) = track(people)
    assert (np.ptp(found.boxes[:, 3]) < 1e-3) == steady


def test_legs_for_a_moment_neither_move_a_person_nor_lead_to_smaller_parts():
    people = walk(40)
    for i, height in ((20, 70), (21, 45)):
        people[i] = [(people[i][0][0], 215, height, 1.0)]
    (found,) = track(people)
    assert list(np.flatnonzero(~found.detected)) == [20, 21]
    np.testing.assert_allclose(found.boxes[:, 1:], np.tile([200, 50, 100], (40, 1)))


def test_runs():
    frames = np.array([2, 3, 4, 9, 10, 12])
    empty = np.zeros(6)
    runs = Track(1, frames, empty, empty, empty).runs()
    assert [list(frames[run]) for run in runs] == [[2, 3, 4], [9, 10], [12]]


def test_fill():
    found = fill(3, np.array([2, 5]), np.array([[0, 0, 1, 2], [3, 6, 4, 2]]), np.ones(2), 1, 6)
    assert found.id == 3
    np.testing.assert_array_equal(found.boxes[:, 0], [0, 0, 1, 2, 3, 3])
    np.testing.assert_array_equal(found.detected, [0, 1, 0, 0, 1, 0])


@pytest.mark.parametrize("num_frames", [10, 11, 12])
def test_a_track_of_some_frames_is_spread_over_all(num_frames):
    boxes = np.array([[10, 5, 4, 8], [13, 5, 4, 8], [16, 5, 4, 8]], np.float32)
    some = Track(3, np.arange(1, 4), boxes, np.array([1, 1, 0], bool), np.float32([2, 1, 0]))
    every = interpolated(some, 3, num_frames)
    np.testing.assert_array_equal(every.frames, np.arange(3, num_frames))
    np.testing.assert_allclose(every.boxes[:7, 0], np.arange(10, 17))
    assert (every.boxes[7:] == boxes[2]).all() and (every.boxes[:, 1:] == [5, 4, 8]).all()
    np.testing.assert_array_equal(every.detected, every.frames <= 6)
    np.testing.assert_allclose(every.scores[:5], [2, 5 / 3, 4 / 3, 1, 0], rtol=1e-6)


def test_a_track_that_ends_before_the_video_does_is_not_held_when_spread():
    some = Track(1, np.array([0]), np.ones((1, 4), np.float32), np.ones(1, bool), np.ones(1))
    assert list(interpolated(some, 3, 4).frames) == [0] and list(
        interpolated(some, 3, 3).frames
    ) == [0, 1, 2]


def test_all_frames_of_all_frames_are_the_track_itself():
    (found,) = track(walk(20))
    same = interpolated(found, 1, 20)
    for name in ("frames", "boxes", "detected", "scores"):
        np.testing.assert_array_equal(getattr(same, name), getattr(found, name))
