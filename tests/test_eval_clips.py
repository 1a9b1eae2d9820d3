import numpy as np
import pytest
from fake_dataset import write_fake_dataset

from maed_jax.data import images
from maed_jax.data.eval_clips import EvaluationClips, evaluation_clips
from maed_jax.data.records import Records
from maed_jax.errors import UserError

LENGTHS = [21, 1, 9, 4]
SUBSETS = ["plain", "clutter", "plain", "occlusion"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    return write_fake_dataset(path, LENGTHS, split="test", subsets=SUBSETS)


def whole(directory, **options):
    options = {"stride": 2, "batch_size": 3, "margin": 1.3} | options
    return evaluation_clips(directory, "test", 4, 16, **options)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_every_frame_is_placed_where_it_belongs(directory, batch_size):
    clips = whole(directory, batch_size=batch_size)
    crops, frames = clips.empty(16, 16, 3), clips.empty()
    batches = list(clips)
    assert len(batches) == len(clips)
    for batch in batches:
        assert len(batch.image) == batch_size
        clips.place(crops, batch, batch.image)
        clips.place(frames, batch, batch.frame)
    for number, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(frames[number], np.arange(length))
        own = [clips.crop(number, frame) for frame in range(length)]
        np.testing.assert_array_equal(crops[number], own)
    assert sum(int(batch.mask.sum()) for batch in batches) == sum(LENGTHS)


def test_batches_hold_crops(directory):
    first = next(iter(whole(directory)))
    assert first.image.shape == (3, 4, 16, 16, 3) and first.image.dtype == np.uint8
    assert first.mask.all() and (first.track == 0).all()
    np.testing.assert_array_equal(first.frame, [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14]])
    again = next(iter(whole(directory)))
    np.testing.assert_array_equal(again.image, first.image)


def test_labels_that_have_been_read_are_not_read_again(directory):
    records, read = Records(directory, "test"), ["the labels of a track"]
    clips = EvaluationClips(
        records, records.tracks, 4, 16, labels=read, stride=2, batch_size=3, margin=1.1
    )
    assert clips.labels is read


def test_whole_clips_are_counted(directory):
    assert [whole(directory, stride=stride).num_whole for stride in (1, 2, 4, 8)] == [
        8,
        6,
        4,
        0,
    ]


def test_filling_is_marked(directory):
    *_, last = whole(directory, batch_size=50)
    filling = last.track < 0
    assert filling.any() and not last.mask[filling].any() and not last.image[filling].any()


def test_a_subset_is_only_its_tracks(directory):
    clips = whole(directory, subset="plain")
    assert [track.name for track in clips.tracks] == ["track0", "track2"]
    assert sum(int(batch.mask.sum()) for batch in clips) == 30


def test_a_limit_takes_windows_from_everywhere(directory):
    clips = whole(directory, limit=3)
    tracks = {int(t) for batch in clips for t in batch.track if t >= 0}
    assert tracks >= {0, 3}
    assert sum(int(batch.mask.sum()) for batch in clips) < sum(LENGTHS)
    assert len(list(whole(directory, limit=99))) == len(whole(directory))


def test_unreadable_frames_are_left_out_and_counted(tmp_path):
    def spoil(index, record):
        if index == 5:
            record["image"] = record["image"][:300]

    clips = whole(write_fake_dataset(tmp_path, [9], split="test", edit=spoil))
    out = clips.empty()
    for _ in range(2):  # counted anew in each pass
        for batch in clips:
            clips.place(out, batch, batch.frame)
        assert clips.skipped == 1
    np.testing.assert_array_equal(np.isnan(out[0]), np.arange(9) == 5)


def test_crops_are_the_usual_ones(directory):
    clips = whole(directory, batch_size=1)
    batch = next(iter(clips))
    from maed_jax.data.records import Records

    record = Records(directory, "test")[2]
    crop = images.decode_crop(record["image"], images.crop_affine(record["box"], 16), 16)
    np.testing.assert_array_equal(batch.image[0, 1], crop)


@pytest.mark.parametrize(
    "split, subset, message",
    [("test", "dark", "no subset 'dark'; its subsets are clutter"), ("val", None, "no split")],
)
def test_mistakes_are_named(directory, split, subset, message):
    with pytest.raises(UserError, match=message):
        evaluation_clips(directory, split, 4, 16, subset, stride=2, batch_size=3, margin=1.3)
