import dataclasses

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from small_videos import FakeEstimator

from maed_jax.data.images import CROP_MARGIN, crop_affine, normalise_keypoints, warp
from maed_jax.errors import UserError
from maed_jax.inference.reconstruct import (
    OUTPUTS,
    _Run,
    _TrackOutputs,
    crop_people,
    crop_squares,
    cut,
    exactly,
    reconstruct,
    to_pixels,
)
from maed_jax.inference.track import Track
from maed_jax.inference.unfinished import Work, in_memory
from maed_jax.inference.video import fit


@dataclasses.dataclass(frozen=True)
class FakeFrame:
    """Stands in for a video frame of uniform brightness, which is its number."""

    index: int
    size: tuple = (80, 60)
    damaged: bool = False

    @property
    def time(self):
        return self.index / 10

    def image(self, max_side=None):
        return np.full((self.size[1], self.size[0], 3), self.index % 251, np.uint8)


@dataclasses.dataclass(frozen=True)
class FakeVideo:
    count: int
    size: tuple = (80, 60)

    def frames(self):
        return (FakeFrame(i, self.size) for i in range(self.count))


def track_of(frames, id=1):
    frames = np.asarray(frames)
    boxes = np.tile(np.array([[40, 30, 10, 20]], np.float32), (len(frames), 1))
    return Track(id, frames, boxes, frames % 3 > 0, (frames % 3 > 0).astype(np.float32))


@examples(25)
@given(
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 90)), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_every_frame_of_every_track_once_and_in_its_place(spans, batch):
    tracks = [track_of(np.arange(a, a + n), i) for i, (a, n) in enumerate(spans)]
    count = max(a + n for a, n in spans) + 3
    estimator = FakeEstimator()
    people = reconstruct(FakeVideo(count), tracks, estimator, num_frames=count, batch=batch)
    assert [person.id for person in people] == list(range(len(spans)))
    for person, track in zip(people, tracks):
        np.testing.assert_array_equal(person.frames, track.frames)
        np.testing.assert_allclose(person.times, track.frames / 10)
        np.testing.assert_allclose(person.shape[:, 0], track.frames % 251, atol=0.02)
    (shape,) = set(estimator.shapes)  # one compilation
    assert shape[0] <= batch and shape[1:] == (4, 32, 32, 3)


def test_frames_of_a_clip_are_as_far_apart_as_in_the_evaluation():
    steps = []

    class Watching(FakeEstimator):
        interval = 3

        def __call__(self, clips, **_):
            prediction = super().__call__(clips)
            steps.extend(np.diff(prediction.shape[..., 0]).ravel())
            return prediction

    reconstruct(FakeVideo(24), [track_of(np.arange(24))], Watching(), num_frames=24, batch=1)
    np.testing.assert_allclose(steps, 3, atol=0.02)


def test_a_track_with_a_gap_is_two_runs():
    frames = np.r_[3:9, 30:71]
    (person,) = reconstruct(FakeVideo(80), [track_of(frames)], FakeEstimator(), num_frames=80)
    np.testing.assert_array_equal(person.frames, frames)
    np.testing.assert_allclose(person.shape[:, 0], frames, atol=0.02)


def test_an_image_needs_no_full_batch():
    estimator = FakeEstimator()
    reconstruct(FakeVideo(1), [track_of([0], i) for i in range(3)], estimator, num_frames=1)
    assert estimator.shapes == [(4, 4, 32, 32, 3)]


@pytest.mark.parametrize("batch_of_second", [1, 3])
def test_an_interrupted_run_resumes(tmp_path, batch_of_second):
    """Wherever it stops, outputs are those of one run, and no clip is run twice."""

    class Stops(FakeEstimator):
        def __call__(self, clips, **_):
            if len(self.shapes) == 3:
                raise KeyboardInterrupt
            return super().__call__(clips)

    def people(estimator, allocate, batch):
        return reconstruct(
            FakeVideo(140), tracks(), estimator, num_frames=140, batch=batch, allocate=allocate
        )

    def tracks():
        return [track_of(np.r_[3:60, 80:131], 1), track_of(np.arange(20, 97), 2)]

    with pytest.raises(KeyboardInterrupt):
        people(Stops(), Work(tmp_path).array, 4)
    done = sum(np.load(path).sum() for path in tmp_path.glob("*_done.npy"))
    assert done == 3 * 4 * 4
    second = FakeEstimator()
    resumed = people(second, Work(tmp_path).array, batch_of_second)
    first = FakeEstimator()
    whole = people(first, in_memory, 1)
    for a, b in zip(resumed, whole):
        for field in dataclasses.fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
    clips_left = len(first.shapes) - 3 * 4
    assert clips_left <= sum(shape[0] for shape in second.shapes) < clips_left + batch_of_second
    again = FakeEstimator()
    people(again, Work(tmp_path).array, 4)
    assert again.shapes == []  # all done: not even the video is decoded


def test_memory_is_bounded_by_the_window():
    track = track_of(np.arange(1000))
    outputs = _TrackOutputs(track, 1.3, OUTPUTS, in_memory)
    run = _Run(track, slice(0, 1000), 4, 8, outputs)  # windows of 32 frames
    held, clips = [], 0
    for position in range(1000):
        clips += sum(1 for _ in run.add(position, np.zeros((1, 1, 3), np.uint8)))
        held.append(len(run._buffer))
    assert clips == 256 and max(held) <= 64 and held[-1] == 0


def test_fields():
    frames = np.arange(7)
    (person,) = reconstruct(FakeVideo(7), [track_of(frames)], FakeEstimator(), num_frames=7)
    assert len(person) == 7
    arrays = {field.name: getattr(person, field.name) for field in dataclasses.fields(person)}
    shapes = {name: array.shape[1:] for name, array in arrays.items() if np.ndim(array)}
    assert shapes == {
        "frames": (), "times": (), "boxes": (4,), "crops": (3,), "detected": (), "confidence": (),
        "pose": (72,), "rotmat": (24, 3, 3), "shape": (10,), "camera": (3,), "translation": (3,),
        "keypoints_3d": (49, 3), "keypoints_2d": (49, 2), "intrinsics": (),
    }  # fmt: skip
    np.testing.assert_array_equal(person.detected, frames % 3 > 0)
    np.testing.assert_allclose(person.crops, [[40, 30, 20 * CROP_MARGIN]] * 7)
    np.testing.assert_allclose(person.intrinsics, [100, 100, 40, 30])  # the image diagonal
    assert person.frames.dtype == np.int64 and person.pose.dtype == np.float32


def test_translation_puts_the_body_where_the_crop_camera_saw_it():
    (person,) = reconstruct(
        FakeVideo(1), [track_of([0])], FakeEstimator(), num_frames=1, focal=900.0
    )
    assert person.intrinsics[0] == 900
    s, tx, ty = person.camera[0]
    origin = np.array([40, 30]) + s * np.array([tx, ty]) * person.crops[0, 2] / 2
    x, y, z = person.translation[0]
    np.testing.assert_allclose([900 * x / z + 40, 900 * y / z + 30], origin, atol=1e-3)
    assert z == pytest.approx(2 * 900 / (person.crops[0, 2] * s), rel=1e-4)


def test_to_pixels():
    points = np.array([[[-1, -1], [0, 0], [1, 0.5]]], np.float32)
    got = to_pixels(points, np.array([[100, 50, 40]], np.float32))
    np.testing.assert_allclose(got, [[[80, 30], [100, 50], [120, 60]]])


def test_numbers_that_are_not_finite():
    class Broken(FakeEstimator):
        def __call__(self, clips, **_):
            prediction = super().__call__(clips)
            prediction.camera[0, 0] = np.nan
            return prediction

    with pytest.raises(UserError, match="not finite"):
        reconstruct(FakeVideo(3), [track_of([0, 1, 2])], Broken(), num_frames=3)


def test_crops_are_those_of_training():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 80, 3), np.uint8)

    class Noise(FakeFrame):
        def image(self, max_side=None):
            return image

    box = np.array([[30, 25, 14, 28]], np.float32)
    (crop,) = cut(Noise(0), list(crop_squares(box, 1.2)), 32)
    expected = warp(image, crop_affine(box[0], 32, scale=1.2), 32)
    assert np.abs(crop.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("side", [70, 140, 230])
def test_large_crops_are_averaged_and_stay_in_place(side):
    """A ramp stays a ramp at every scale, so a shift by a pixel would show."""

    class Ramp(FakeFrame):
        def image(self, max_side=None):
            shrink = max(self.size) // max_side
            x = np.arange(self.size[0], dtype=np.float32).reshape(-1, shrink).mean(1)
            row = x.astype(np.float32)
            return np.tile(row[None, :, None], (self.size[1] // shrink, 1, 3))

    frame = Ramp(0, size=(240, 160))
    (crop,) = cut(frame, [np.array([120.0, 80.0, side])], 32)
    affine = crop_affine(np.array([120.0, 80, side, side]), 32, scale=1.0)
    x = (np.arange(32) - affine[0, 2]) / affine[0, 0]
    np.testing.assert_allclose(crop[16, :, 0], x, atol=1.1)
    assert np.mean(crop[16, :, 0] - x) == pytest.approx(0, abs=0.3)


@examples(30)
@given(
    st.tuples(st.floats(40, 200), st.floats(40, 120)),
    st.floats(20, 400),
    st.tuples(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7)),
)
def test_points_of_a_crop_lie_on_what_it_shows(centre, side, point):
    """From the crop's [-1, 1] to pixels of the video: the same spot in the image."""
    crop = np.array([[*centre, side]], np.float32)
    spot = to_pixels(np.array([[point]], np.float32), crop)[0, 0]
    width = max(side / 30, 2)
    assume((spot > 3 * width).all() and (spot < np.array([240, 160]) - 3 * width).all())
    y, x = np.mgrid[:160, :240]
    blob = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / width**2)

    class Spot(FakeFrame):
        def image(self, max_side):
            size = (max_side, max_side * 160 // 240)
            image = cv2.resize(blob, size, interpolation=cv2.INTER_AREA)
            return np.repeat(image[..., None], 3, -1).astype(np.uint8)

    (shown,) = cut(Spot(0, size=(240, 160)), list(crop), 64)
    weight = shown[..., 0].astype(float)
    rows, columns = np.mgrid[:64, :64]
    pixel = np.array([(weight * grid).sum() / weight.sum() for grid in (columns, rows)])
    np.testing.assert_allclose(normalise_keypoints(pixel, 64), point, atol=0.01)


def test_crops_of_a_frame_that_opencv_does_not_take():
    class Wide(FakeFrame):
        def image(self, max_side):
            return np.full((8, max_side, 3), 7, np.uint8)

    (crop,) = cut(Wide(0, size=(40_000, 8)), [np.array([20_000.0, 4, 6])], 8)
    assert (crop == 7).all()


@pytest.mark.parametrize("side", [20, 150])  # of a crop of the right size, and of a larger one
def test_crops_are_those_that_the_video_gives(side):
    estimator = FakeEstimator()
    frames = np.random.default_rng(0).integers(0, 256, (3, 120, 160, 3), np.uint8)
    boxes = np.array([[60 + 9 * i, 50, side / 2, side] for i in range(3)])
    crops = crop_people(frames, boxes, estimator)
    assert crops.shape == (3, 32, 32, 3) and crops.dtype == np.uint8

    class Noise(FakeFrame):
        def image(self, max_side):
            size = fit((160, 120), max_side)
            return cv2.resize(frames[self.index], size, interpolation=cv2.INTER_AREA)

    for i, square in enumerate(crop_squares(boxes, estimator.margin)):
        (seen,) = cut(Noise(i, (160, 120)), [square], 32)
        assert np.abs(crops[i].astype(int) - seen).mean() < 2


@pytest.mark.parametrize(
    "frames, boxes, says",
    [
        (np.zeros((2, 9, 9, 3), np.uint8), np.ones((1, 4)), r"2 frames need boxes \[2 4\]"),
        (np.zeros((1, 9, 9, 3), np.uint8), np.full((1, 4), np.nan), "finite numbers"),
        (np.zeros((1, 9, 9, 3)), np.ones((1, 4)), "not float64"),
        (np.zeros((1, 9, 9), np.uint8), np.ones((1, 4)), r"not uint8 \[9, 9\]"),
    ],
)
def test_what_cannot_be_cropped_is_named(frames, boxes, says):
    with pytest.raises(UserError, match=says):
        crop_people(frames, boxes, FakeEstimator())


def test_exactly():
    assert [f.index for f in exactly(FakeVideo(9).frames(), 4)] == [0, 1, 2, 3]
    longer = list(exactly(FakeVideo(2).frames(), 4))
    assert [f.index for f in longer] == [0, 1, 2, 3]
    assert [f.damaged for f in longer] == [False, False, True, True]
    assert list(exactly(FakeVideo(0).frames(), 4)) == []
