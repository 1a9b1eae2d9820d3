import numpy as np
import pytest
from small_videos import figure_images, write_video

from maed_jax.errors import UserError
from maed_jax.inference import people
from maed_jax.inference.boxes_file import read_boxes
from maed_jax.inference.detect import make_detector
from maed_jax.inference.track import Track
from maed_jax.inference.video import open_video


@pytest.mark.parametrize("fps", [30, 15])
def test_smoothing_follows_the_person_and_not_the_noise(fps):
    time = np.arange(0, 4, 1 / fps)
    boxes = np.stack([100 + 20 * np.sin(time), 0 * time + 50, 0 * time + 40, 0 * time + 80], -1)
    track = Track(1, np.arange(len(time)), boxes, np.ones(len(time), bool), np.ones(len(time)))
    smooth = people.smoothed(track, fps).boxes
    assert smooth.dtype == np.float32 and smooth.shape == boxes.shape
    middle = len(time) // 2
    assert smooth[middle, 0] == pytest.approx(100 + 20 * np.sin(2.0), abs=1.5)
    noisy = Track(1, track.frames, boxes + np.random.default_rng(0).normal(0, 3, boxes.shape),
                  track.detected, track.scores)  # fmt: skip
    jitter = np.diff(people.smoothed(noisy, fps).boxes[:, 1], n=2).std()
    assert jitter < 0.5


def test_gaps_between_runs_are_not_smoothed_over():
    frames = np.r_[0:20, 100:120]
    boxes = np.tile([[50.0, 50, 40, 80]], (40, 1))
    boxes[20:, 0] = 300
    track = Track(1, frames, boxes, np.ones(40, bool), np.ones(40))
    np.testing.assert_allclose(people.smoothed(track, 30).boxes, boxes, rtol=1e-5)


@pytest.mark.parametrize(
    ("fps", "frames", "every"), [(10, 25, 1), (30, 12, 1), (30, 25, 2), (30, 60, 4), (60, 100, 8)]
)
def test_the_detector_sees_some_frames_a_second_and_tracks_have_all(tmp_path, fps, frames, every):
    places = [[(60 + 60 / fps * i, 120)] for i in range(frames)]
    video = open_video(write_video(tmp_path / "a.mp4", figure_images(places), fps=fps))
    hog, seen = make_detector("hog"), []

    class Counting:
        max_side, sure_score = hog.max_side, hog.sure_score
        detects_parts = hog.detects_parts

        def __call__(self, image):
            seen.append(image)
            return hog(image)

        def redetect_near(self, image, boxes):
            seen.append(image)
            return hog.redetect_near(image, boxes)

    (track,) = people.find_people(video, Counting()).tracks
    assert len(seen) == len(range(0, frames, every))
    np.testing.assert_array_equal(track.frames, np.arange(frames))
    assert track.detected.all()
    np.testing.assert_allclose(np.diff(track.boxes[:, 0]), 60 / fps, atol=60 / fps)


def saved(**changes):
    """The stored form of two people in a video of five frames."""
    tracks = [
        Track(id, frames, np.ones((len(frames), 4)), frames > 1, frames / 5)
        for id, frames in ((1, np.arange(3)), (4, np.arange(3, 5)))
    ]
    return people._pack(people.Found(tracks, 5, [2])) | changes


def test_stored_people_are_complete():
    found = people._unpack(saved())
    assert found.num_frames == 5 and found.damaged == [2] and [t.id for t in found.tracks] == [1, 4]
    again = people._pack(found)
    for name, array in saved().items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": np.array([5, 0])}, {"lengths": np.array([3, 3])}, {"num_frames": np.array(4)},
        {"frames": np.arange(-1, 4)}, {"boxes": np.ones((4, 4))}, {"ids": np.array([1])},
        {"detected": np.ones(5)},
    ],
)  # fmt: skip
def test_impossible_stored_people_are_ignored(changes):
    assert people._unpack(saved(**changes)) is None


def boxes_file(path, numbers):
    path.write_text("".join(f"{n},-1,60,40,80,160\n" for n in numbers))
    return read_boxes(path)


def test_boxes_that_cannot_be_linked_are_not_asked_for_again(tmp_path):
    video = open_video(write_video(tmp_path / "a.mp4", figure_images([[(100, 120)]] * 40)))
    with pytest.raises(UserError, match="b.txt could be linked: without ids they must cover.*n-th"):
        people.find_people(video, boxes_file(tmp_path / "b.txt", [1, 6, 10, 16, 21, 26, 31]))


@pytest.mark.parametrize(("first", "every"), [(1, 1), (1, 4), (3, 5), (11, 2)])
def test_boxes_of_every_nth_frame_are_linked(tmp_path, first, every):
    video = open_video(write_video(tmp_path / "a.mp4", figure_images([[(100, 120)]] * 40)))
    numbers = range(first, 41, every)
    (track,) = people.find_people(video, boxes_file(tmp_path / "b.txt", numbers)).tracks
    assert track.frames[0] == first - 1 and track.frames[-1] == 39
    np.testing.assert_array_equal(np.diff(track.frames), 1)
    assert track.detected.all()
