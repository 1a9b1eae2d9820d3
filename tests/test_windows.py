"""Golden `chunks/*`: four consecutive tracks of 40, 9, 130 and 16 frames; a row contains the frames
of a window. `train_50`: 128 frames, half overlapping; `train_8`: a stride of 16 frames; `eval`: 16
frames without overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maed_jax.data.windows import (
    eval_windows,
    reflect,
    sample_clip,
    sparse_windows,
    window_starts,
)

LENGTHS = {"a": 40, "b": 9, "c": 130, "d": 16}


def windows(length, window, stride):
    starts = window_starts(length, window, stride)
    return reflect(starts[:, None] + np.arange(window), length)


@pytest.mark.parametrize(
    "name, options",
    [
        ("train_50", dict(window=128, stride=64)),
        ("train_8", dict(window=128, stride=16)),
        ("eval", dict(window=16, stride=16)),
    ],
)
def test_windows_are_those_of_the_original(golden_dir, name, options):
    golden = np.load(golden_dir / "cropping.npz")
    names = golden["chunk_names"].tolist()
    ours = [names.index(track) + windows(n, **options) for track, n in LENGTHS.items()]
    np.testing.assert_array_equal(np.concatenate(ours), golden[f"chunks/{name}"])


def test_windows_of_one_frame_are_the_frames():
    np.testing.assert_array_equal(window_starts(5, 1, 1), np.arange(5))


def test_a_short_track_has_one_window_by_reflection():
    assert windows(130, 128, 8).shape == (17, 128)
    np.testing.assert_array_equal(windows(3, 6, 3), [[0, 1, 2, 1, 0, 1]])


@given(st.integers(1, 60), st.integers(1, 300))
def test_reflection_is_numpys(length, total):
    padded = np.pad(np.arange(length), (0, max(total - length, 0)), mode="reflect")
    np.testing.assert_array_equal(reflect(np.arange(total), length), padded[:total])


@given(st.integers(1, 700), st.integers(1, 16), st.integers(1, 9))
def test_every_frame_is_evaluated_once(length, clip_length, stride):
    indices, mask = eval_windows(length, clip_length, stride)
    assert indices.shape == mask.shape and indices.shape[1] == clip_length
    assert sorted(indices[mask]) == list(range(length))
    assert 0 <= indices.min() and indices.max() < length
    assert mask.any(axis=1).all()


@given(st.integers(1, 700))
def test_clips_stay_in_their_window_and_interleave(length):
    indices, mask = eval_windows(length, 16, 8)
    position = np.where(mask, indices, -1)
    for row in position:
        own = row[row >= 0]
        assert set(np.diff(own)) <= {8}
        assert len(set(own // 128)) == 1


def test_a_full_window_is_eight_clips_at_stride_8():
    indices, mask = eval_windows(128, 16, 8)
    np.testing.assert_array_equal(indices, np.arange(128).reshape(16, 8).T)
    assert mask.all()


def test_a_single_frame_is_repeated():
    indices, mask = eval_windows(1, 16, 8)
    assert (indices == 0).all() and indices.shape == (1, 16)
    assert mask.sum() == 1 and mask[0, 0]


@pytest.mark.parametrize("call", [lambda: eval_windows(0, 16, 8), lambda: windows(5, 0, 1)])
def test_senseless_lengths_are_refused(call):
    with pytest.raises(ValueError):
        call()


@given(st.integers(1, 20), st.integers(1, 9), st.data())
def test_clips_take_every_kth_frame_of_a_window(clip_length, interval, data):
    start = data.draw(st.integers(0, interval - 1))
    left_over = data.draw(st.integers(0, clip_length - 1))
    clip = sample_clip(np.arange(clip_length * interval + left_over), clip_length, start)
    np.testing.assert_array_equal(clip, start + interval * np.arange(clip_length))


def test_start_outside_of_the_interval_is_refused():
    with pytest.raises(ValueError):
        sample_clip(np.arange(128), 16, 8)


@pytest.mark.parametrize("length", [1, 9, 16, 17, 40])
def test_sparse_windows_predict_every_second_frame_of_the_same_windows(length):
    index, place = sparse_windows(length, clip_length=4, stride=4, every=2)
    padded = -(-length // 16) * 16
    assert sorted(place.ravel()) == list(range(padded // 2))  # each once
    np.testing.assert_array_equal(index, reflect(2 * place, length))
    # Within a window, clips are interleaved: every `stride`-th frame, as if all were predicted.
    assert (np.diff(2 * place, axis=1) == 4).all()
    with pytest.raises(ValueError, match="every 3"):
        sparse_windows(length, 4, 4, 3)
