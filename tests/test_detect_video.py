from types import SimpleNamespace

import numpy as np
import pytest
from small_videos import figure_images, write_video

from maed_jax import threads
from maed_jax.inference import detect_video
from maed_jax.inference.detect import make_detector
from maed_jax.inference.detections import Detections
from maed_jax.inference.unfinished import unfinished
from maed_jax.inference.video import open_video


class Acted:
    """A detector of people at `boxes[frame]`, for images that encode their frame's number; records
    which frames it searched completely, and which near boxes."""

    max_side, sure_score, detects_parts = 640, 0.5, True

    def __init__(self, boxes, scores=None):
        self.boxes, self.scores = boxes, scores or {}
        self.whole, self.again_at = [], {}

    def __call__(self, image):
        frame = int(image[0, 0, 0])
        self.whole.append(frame)
        boxes = np.array(self.boxes[frame], np.float32).reshape(-1, 4)
        return Detections(boxes, np.full(len(boxes), self.scores.get(frame, 1.0), np.float32))

    def redetect_near(self, image, boxes):
        self.again_at[int(image[0, 0, 0])] = np.asarray(boxes)
        whole = self(image)
        self.whole.pop()
        near = (
            np.abs(whole.boxes[:, None, 0] - np.asarray(boxes)[None, :, 0]).min(1, initial=99) < 9
        )
        return Detections(whole.boxes[near], whole.scores[near])


def film(frames, damaged=(), scale=1, fps=30):
    """A video of grey images, each as bright as its number."""

    def frame(index):
        image = np.full((100, 200, 3), index, np.uint8)
        size = 200 * scale, 100 * scale
        return SimpleNamespace(
            index=index, damaged=index in damaged, size=size, image=lambda max_side: image
        )

    return SimpleNamespace(fps=fps, frames=lambda: map(frame, range(frames)))


def box(x, height=60):
    return [x, 50, height / 2, height]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 1)  # a fixed order of searches


def test_between_searches_that_agree_only_known_places_are_searched():
    detector = Acted([[box(40 + i), box(150)] for i in range(9)])
    found = list(detect_video.detections(film(9, scale=2), detector))
    assert detector.whole == [0, 4, 8]
    np.testing.assert_allclose(detector.again_at[3], [box(43), box(150)])
    for i, people in enumerate(found):
        np.testing.assert_allclose(people.boxes, 2 * np.array([box(40 + i), box(150)]))


@pytest.mark.parametrize("come", [5, 6, 7, 8])
def test_people_who_come_or_leave_between_searches_are_found_throughout(come):
    at = [[box(40)] + [box(150)] * (i >= come) for i in range(13)]
    for boxes in (at, at[::-1]):
        detector = Acted(boxes)
        found = list(detect_video.detections(film(13), detector))
        assert [len(people.boxes) for people in found] == [len(b) for b in boxes]
        assert len(detector.whole) == 4 + 3  # not all 13


def test_at_low_frame_rates_every_search_is_complete():
    """Somebody may come and leave within a second."""
    for fps, whole in ((7, [0, 4, 8]), (6, [0, 3, 6]), (4, [0, 2, 4, 6, 8]), (1, list(range(9)))):
        detector = Acted([[]] * 9)
        list(detect_video.detections(film(9, fps=fps), detector))
        assert set(whole) <= set(detector.whole) and (fps < 7 or detector.whole == whole)


def test_nobody_is_looked_for_where_nobody_was():
    detector = Acted([[]] * 9)
    found = list(detect_video.detections(film(9), detector))
    assert all(len(people.boxes) == 0 for people in found) and detector.whole == [0, 4, 8]
    assert all(len(boxes) == 0 for boxes in detector.again_at.values())


@pytest.mark.parametrize("damaged", [0, 4, 8])
def test_next_to_a_damaged_frame_people_may_be_anywhere(damaged):
    detector = Acted([[box(40)]] * 12)
    found = list(detect_video.detections(film(12, damaged=[damaged]), detector))
    assert [i for i, people in enumerate(found) if people is None] == [damaged]
    beside = set(range(max(0, damaged - 3), damaged + 4))
    assert beside - {damaged} <= set(detector.whole) and all(len(p.boxes) for p in found if p)


def test_after_the_last_complete_search_people_may_be_anywhere():
    detector = Acted([[box(40)]] * 8)
    assert len(list(detect_video.detections(film(8), detector))) == 8
    assert sorted(detector.whole) == [0, 4, 5, 6, 7]


@pytest.mark.parametrize(("frames", "every"), [(1, 1), (1, 4), (7, 3), (40, 3), (33, 2)])
def test_search_interval(frames, every):
    detector = Acted([[box(40)]] * frames)
    found = list(detect_video.detections(film(frames), detector, every))
    assert [len(people.boxes) for people in found] == [int(i % every == 0) for i in range(frames)]
    assert sorted([*detector.whole, *detector.again_at]) == list(range(0, frames, every))


def test_expected_boxes():
    def seen(boxes, scores):
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))

    one, moved, other = box(40), box(50), box(150)
    where = detect_video.expected_boxes(seen([one], [1]), seen([moved], [0.1]), 0.25, 0.25)
    np.testing.assert_allclose(where, [box(42.5)])
    doubtful = seen([other, moved], [0.2, 1])
    np.testing.assert_allclose(
        detect_video.expected_boxes(seen([one], [1]), doubtful, 0.25, 0.5), [box(45), other]
    )
    for evident in (seen([moved, other], [1, 0.3]), seen([other], [1]), seen([], [])):
        assert detect_video.expected_boxes(seen([one], [1]), evident, 0.25, 0.5) is None
        assert detect_video.expected_boxes(evident, seen([one], [1]), 0.25, 0.5) is None
    assert detect_video.expected_boxes(seen([], []), seen([], []), 0.25, 0.5).shape == (0, 4)


def test_known_frames_are_not_searched_again(tmp_path):
    places = [[(60 + 5 * i, 120)] for i in range(10)]
    video = open_video(write_video(tmp_path / "a.mp4", figure_images(places)))
    hog = make_detector("hog")
    with unfinished(tmp_path / "out", {}) as work:
        found = list(detect_video.detections(video, hog, 1, work))
        blind = SimpleNamespace(max_side=640, sure_score=0.5)  # a search would fail
        again = list(detect_video.detections(video, blind, 1, work))
        notes = work.folder / "detections.jsonl"
        lines = notes.read_text().splitlines(keepends=True)
        notes.write_text("".join(lines[:6]))
        resumed = list(detect_video.detections(video, hog, 1, work))
        assert notes.read_text() == "".join(lines)
        notes.write_text("".join([*lines[:3], "null\n", *lines[4:]]))
        damaged = [one is None for one in detect_video.detections(video, blind, 1, work)]
        assert damaged == [i == 3 for i in range(10)]
    alone = [detect_video.detect(frame, hog) for frame in video.frames()]
    for plain, *others in zip(alone, found, again, resumed):
        assert len(plain.scores) > 0
        for other in others:
            sure = plain.scores >= hog.sure_score
            np.testing.assert_allclose(plain.scores[sure], other.scores[: sure.sum()], atol=1e-5)
            np.testing.assert_allclose(plain.boxes[sure], other.boxes[: sure.sum()], atol=5)
