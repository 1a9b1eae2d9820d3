"""Files, videos and plots of what a model attended to."""

import dataclasses

import cv2
import numpy as np
import pytest
from small_results import FRAMES, attention_of, moving_person
from small_videos import figure_images, write_video

from maed_jax.inference.people import no_progress
from maed_jax.inference.person_attention import load_attention
from maed_jax.inference.track import Track
from maed_jax.inference.unfinished import in_memory
from maed_jax.inference.video import open_video
from maed_jax.visual import attention_files
from maed_jax.visual.attention_plot import crop_rows, write_plot
from maed_jax.visual.attention_video import (
    HEAT,
    attention_frame,
    heat_colors,
    time_strip,
    with_heat_map,
    write_videos,
)
from maed_jax.visual.colors import color_of


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    images = figure_images([[(80, 60)]] * FRAMES, (120, 160), 90)
    return open_video(write_video(tmp_path_factory.mktemp("videos") / "a.mp4", images))


def test_warm_is_where_the_weight_is():
    weights = np.zeros((4, 4))
    weights[1, 2] = 0.3
    image = with_heat_map(np.full((40, 40, 3), 120, np.uint8), weights).astype(int)
    warmth = image[..., 0] - image[..., 2]
    assert np.unravel_index(warmth.argmax(), (40, 40))[0] in range(11, 19)
    assert np.unravel_index(warmth.argmax(), (40, 40))[1] in range(21, 29)
    np.testing.assert_allclose(heat_colors(np.array([0.0, 0.5, 1.0])), HEAT[[0, 2, 4]])


def test_the_strip_is_in_the_order_of_time():
    person = moving_person()
    attention = attention_of(person)
    attention.clip_frames[0] = [5, 0, 7, 2]
    attention.time[0, 1] = [0.7, 0.1, 0.1, 0.1]  # the most for frame 5, the third in time
    strip = time_strip(attention, 0, (200, 60)).astype(int)
    bright = (strip.sum(-1) > 300)[:25].sum(0)
    assert bright[100:150].sum() > 500 and bright[:95].sum() == bright[155:].sum() == 0


def test_one_video_per_person_over_their_frames(video, tmp_path):
    people = [moving_person(1), moving_person(2, (2, 3, 5))]
    attentions = [attention_of(people[0]), dataclasses.replace(attention_of(people[1]), time=None)]
    paths = [tmp_path / "1.mp4", tmp_path / "2.mp4"]
    write_videos(paths, video, people, attentions, num_frames=FRAMES)
    films = [list(open_video(path).frames()) for path in paths]
    assert [len(frames) for frames in films] == [8, 3]
    assert [frames[0].size for frames in films] == [(640 + 384, 480), (640 + 480, 480)]


def test_the_square_is_drawn_where_the_crop_was(video):
    """The centre of the first pixel is at 1.5 in a video 4 times as large."""
    crop = np.float32([[80, 60, 50]] * FRAMES)
    person = dataclasses.replace(moving_person(), crops=crop)
    image = attention_frame(next(video.frames()), person, attention_of(person), 0)
    like = np.abs(image[:, :640].astype(int) - color_of(person.id)).sum(-1) < 60
    middle = [np.flatnonzero(like.sum(axis) > 150).mean() for axis in (0, 1)]
    np.testing.assert_allclose(middle, [4 * 80.5 - 0.5, 4 * 60.5 - 0.5], atol=0.6)


def test_a_plot_of_whatever_there_is(tmp_path):
    attention = attention_of(moving_person())
    rows = crop_rows(attention)
    assert rows[0] == 0 and rows[-1] == FRAMES - 1
    crops = [np.full((16, 16, 3), 90, np.uint8)] * len(rows)
    write_plot(tmp_path / "all.png", attention, crops)
    write_plot(tmp_path / "few.png", dataclasses.replace(attention, time=None, gates=None))
    tall, low = (cv2.imread(str(tmp_path / name)) for name in ("all.png", "few.png"))
    assert tall.shape[1] == low.shape[1] == 1100 and tall.shape[0] > 2 * low.shape[0]
    assert tall.std() > 20


@pytest.mark.parametrize("drawn", [True, False])
def test_all_files_of_a_folder(video, tmp_path, monkeypatch, drawn):
    person = moving_person(3)
    attention = attention_of(person)
    monkeypatch.setattr(attention_files, "attention_of_tracks", lambda *args, **kwargs: [attention])
    track = Track(3, person.frames, person.boxes, person.detected, person.confidence)
    names = attention_files.write_attention(
        tmp_path, video, [person], [track], None, num_frames=FRAMES, batch=2, drawn=drawn,
        allocate=in_memory, progress=lambda label: no_progress,
    )  # fmt: skip
    endings = ["mp4", "npz", "png"] if drawn else ["npz"]
    assert names == [f"attention_3.{ending}" for ending in endings]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert load_attention(tmp_path / "attention_3.npz").id == 3
