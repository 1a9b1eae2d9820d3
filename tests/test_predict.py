import contextlib
import dataclasses
import errno
import json
from fractions import Fraction

import numpy as np
import pytest
from small_videos import FakeEstimator, damage, figure_images, write_video

import maed_jax
from maed_jax.body.mannequin import mannequin
from maed_jax.errors import UserError
from maed_jax.inference.boxes_file import read_boxes
from maed_jax.inference.results import load_person, load_results
from maed_jax.inference.video import open_video
from maed_jax.prediction.predict import Options, predict_to, predict_video

NOT_DRAWN = Options(overlay=False)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """12 frames: one person walks to the right, another stands."""
    places = [[(90 + 3 * i, 120), (250, 125)] for i in range(12)]
    path = tmp_path_factory.mktemp("videos") / "walk.mp4"
    return write_video(path, figure_images(places))


def test_python_api(walk, tmp_path):
    assert maed_jax.predict_video is predict_video
    people = predict_video(walk, FakeEstimator(mannequin()), batch=3)
    assert [person.id for person in people] == [1, 2]
    walking, standing = sorted(people, key=lambda person: person.boxes[0, 0])
    for person in people:
        np.testing.assert_array_equal(person.frames, np.arange(12))
        assert person.detected.sum() >= 10
        assert (person.shape == person.shape[0]).all() and person.joints_3d.shape == (12, 24, 3)
    assert 20 < np.ptp(walking.boxes[:, 0]) < 40 and np.ptp(standing.boxes[:, 0]) < 4
    np.testing.assert_allclose(walking.boxes[6], [108, 120, 80, 160], atol=20)


def test_results_give_the_absolute_path_of_the_video(walk, tmp_path, monkeypatch):
    monkeypatch.chdir(walk.parent)
    estimator = FakeEstimator(mannequin())
    content = predict_to(tmp_path, open_video("walk.mp4"), estimator, NOT_DRAWN)
    assert content["video"]["path"] == str(walk.resolve())


def test_what_was_written_can_be_given_as_boxes(walk, tmp_path):
    estimator = FakeEstimator(mannequin())
    content = predict_to(tmp_path, open_video(walk), estimator, NOT_DRAWN)
    assert content == json.loads((tmp_path / "results.json").read_text())
    (again,) = predict_video(walk, estimator, boxes=tmp_path / "person_2.npz")
    np.testing.assert_array_equal(again.frames, load_person(tmp_path / "person_2.npz").frames)


def test_what_is_done_is_not_done_again_unless_something_changed(walk, tmp_path):
    estimator = FakeEstimator(mannequin())

    def calls(again=True, **options):
        before, options = len(estimator.shapes), dataclasses.replace(NOT_DRAWN, **options)
        predict_to(tmp_path, open_video(walk), estimator, options, again=again)
        return len(estimator.shapes) - before

    once = calls()
    assert once > 0 and calls(again=False) == 0 and calls() == once
    (tmp_path / "person_1.npz").rename(tmp_path / "elsewhere.npz")
    assert calls(again=False) == once
    calls(exports=["glb"])
    (tmp_path / "people.glb").unlink()
    assert calls(again=False, exports=["glb"]) == once and (tmp_path / "people.glb").exists()
    assert calls(again=False, focal=700.0) == once


def test_what_is_given_is_not_replaced_by_results(walk, tmp_path):
    estimator = FakeEstimator(mannequin())
    predict_to(tmp_path, open_video(walk), estimator, NOT_DRAWN)
    boxes = read_boxes(tmp_path / "person_1.npz")
    with pytest.raises(UserError, match="person_1.npz has the name of a result"):
        predict_to(tmp_path, open_video(walk), estimator, Options(boxes=boxes, overlay=False))
    video = tmp_path / "overlay.mp4"
    video.write_bytes(walk.read_bytes())
    with pytest.raises(UserError, match="overlay.mp4 has the name of a result.*--out"):
        predict_to(tmp_path, open_video(video), estimator, Options())
    assert video.read_bytes() == walk.read_bytes() and boxes.path.exists()


def test_damaged_frames_get_interpolated_boxes(tmp_path):
    path = tmp_path / "walk.mov"
    places = [[(100 + 3 * i, 120)] for i in range(12)]
    write_video(path, figure_images(places), codec="mjpeg", pix_fmt="yuvj420p")
    video = open_video(damage(path, [5, 6]))
    content = predict_to(tmp_path / "out", video, FakeEstimator(mannequin()), NOT_DRAWN)
    assert content["video"]["damaged_frames"] == [5, 6]
    person = load_person(tmp_path / "out" / "person_1.npz")
    assert len(person) == 12 and not person.detected[5:7].any()
    assert (np.diff(person.boxes[:, 0]) > 0.5).all()


def test_a_run_interrupted_while_detecting_resumes_there(tmp_path, monkeypatch):
    from maed_jax.inference import hog

    places = [[(90 + i, 120), (250, 125)] for i in range(40)]
    walk = write_video(tmp_path / "walk.mp4", figure_images(places))
    seen, merge = [], hog.merge

    def stops(*windows):  # called once per search
        seen.append(windows)
        if len(seen) == 30:
            raise KeyboardInterrupt
        return merge(*windows)

    monkeypatch.setattr(hog, "merge", stops)
    monkeypatch.setattr("maed_jax.threads.available_cores", lambda: 1)

    def predict(out):
        estimator = FakeEstimator(mannequin())
        predict_to(out, open_video(walk), estimator, NOT_DRAWN)
        return [load_person(path) for path in sorted(out.glob("person_*.npz"))]

    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path / "a")
    resumed = predict(tmp_path / "a")
    # Repeated: the frame where it stopped, and those that were in progress or waiting then.
    assert 30 + 40 - 29 <= len(seen) <= 30 + 40 - 29 + 12
    for a, b in zip(resumed, predict(tmp_path / "b")):
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.shape, b.shape)


def test_people_are_kept_where_drawing_fails(walk, tmp_path, monkeypatch):
    from maed_jax.visual import overlay

    def fails(*_, **__):
        raise UserError("rendering needs PyVista")

    estimator = FakeEstimator(mannequin())
    with monkeypatch.context() as patch:
        patch.setattr(overlay, "write_overlay", fails)
        with pytest.raises(UserError, match="PyVista"):
            predict_to(tmp_path, open_video(walk), estimator, Options())
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["overlay"] is None and (tmp_path / "person_1.npz").exists()
    calls = len(estimator.shapes)
    predict_to(tmp_path, open_video(walk), estimator, Options())
    assert len(estimator.shapes) == calls  # only the drawing was left to do
    assert (tmp_path / "overlay.mp4").exists() and (tmp_path / "person_1.npz").exists()


@pytest.mark.parametrize(
    "where", ["smooth_person", "results.save_person", "export_people", "results.publish"]
)
def test_answers_outlive_a_full_disk(walk, tmp_path, monkeypatch, where):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    estimator = FakeEstimator(mannequin())
    with monkeypatch.context() as patch:
        patch.setattr(f"maed_jax.prediction.predict.{where}", full)
        with pytest.raises((UserError, OSError), match="(?i)no space left on device"):
            predict_to(tmp_path, open_video(walk), estimator, NOT_DRAWN)
    calls = len(estimator.shapes)
    monkeypatch.setattr("maed_jax.inference.hog.merge", full)  # a search would fail
    predict_to(tmp_path, open_video(walk), estimator, NOT_DRAWN)
    assert len(estimator.shapes) == calls and (tmp_path / "person_1.npz").exists()


def test_answers_of_another_interval_are_not_resumed(walk, tmp_path, monkeypatch):
    def stops(*_, **__):
        raise KeyboardInterrupt

    estimator = FakeEstimator(mannequin())
    with monkeypatch.context() as patch:
        patch.setattr("maed_jax.prediction.predict.smooth_person", stops)
        with pytest.raises(KeyboardInterrupt):
            predict_to(tmp_path, open_video(walk), estimator, NOT_DRAWN)
    calls = len(estimator.shapes)
    estimator.interval = 2
    content = predict_to(tmp_path, open_video(walk), estimator, NOT_DRAWN)
    assert len(estimator.shapes) > calls and content["model"]["interval"] == 2


def test_what_was_detected_outlives_a_full_disk(walk, tmp_path, monkeypatch):
    from maed_jax.inference import hog

    seen, merge = [], hog.merge

    def full(*windows):  # called once per search
        seen.append(windows)
        if len(seen) == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        return merge(*windows)

    monkeypatch.setattr(hog, "merge", full)
    monkeypatch.setattr("maed_jax.threads.available_cores", lambda: 1)
    for _ in range(2):
        with contextlib.suppress(UserError):
            predict_to(tmp_path, open_video(walk), FakeEstimator(mannequin()), NOT_DRAWN)
    assert len(seen) < 9 + 12 and (tmp_path / "person_1.npz").exists()


def test_a_video_with_one_frame_per_day(tmp_path):
    path = tmp_path / "slow.mkv"
    write_video(path, figure_images([[(100, 120)]] * 3), fps=Fraction(1, 86400))
    video = open_video(path)
    content = predict_to(tmp_path / "out", video, FakeEstimator(mannequin()), NOT_DRAWN)
    assert content["video"]["fps"] == pytest.approx(video.fps, rel=1e-5) and video.fps < 1e-4
    assert load_results(tmp_path / "out")[0] == content


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 0}, {"focal": -1.0}, {"focal": np.nan}, {"fps": 0}, {"fps": np.inf}],
    ids=str,
)
def test_invalid_numbers(walk, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"^{name} must be above 0, not {value}"):
        predict_video(walk, FakeEstimator(mannequin()), **wrong)


@pytest.mark.parametrize("batch", [2.5, 2.0])
def test_a_batch_is_a_whole_number_of_clips(walk, batch):
    with pytest.raises(UserError, match=f"^batch must be a whole number, not {batch}"):
        predict_video(walk, FakeEstimator(mannequin()), batch=batch)


def test_an_estimator_may_be_named_by_its_work_directory(walk, tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} has no checkpoint"):
        predict_video(walk, tmp_path)


def test_unknown_detector(walk):
    with pytest.raises(UserError, match="no detector"):
        predict_video(walk, FakeEstimator(), detector="magic")
