import numpy as np
import pytest

from maed_jax.evaluation.interpolation import interpolate, neighbours


def test_stretching_is_that_of_the_original(golden_dir):
    golden = np.load(golden_dir / "evaluation_interpolation.npz")
    span, predictions = int(golden["orig_len"]), int(golden["interp_len"])
    sequence, expected = golden["sequence"].astype(np.float64), golden["out"]
    every = span // predictions
    out = interpolate(sequence, len(expected), span, every)
    np.testing.assert_allclose(out, expected, atol=2e-7)  # the original computes in float32
    np.testing.assert_allclose(interpolate(sequence, 130, span, every), expected[:130], atol=2e-7)


@pytest.mark.parametrize("every, span, length", [(2, 16, 40), (4, 8, 8), (8, 8, 11)])
def test_windows_do_not_mix(every, span, length):
    before, weight = neighbours(length, span, every)
    window = np.arange(length) // span
    n = span // every
    assert (before // n == window).all() and (np.minimum(before + 1, n * (window + 1)) > 0).all()
    if n > 1:
        assert ((before + 1) // n == window).all()
        assert weight[0] == -1.0  # extrapolated
        np.testing.assert_allclose(before[span - 1] + weight[span - 1], n - 1)


def test_a_missing_prediction_is_missing_only_around_it():
    values = np.arange(8.0)
    values[3] = np.nan
    out = interpolate(values, 16, 16, 2)
    assert np.isnan(out).any() and np.isfinite(out[:4]).all() and np.isfinite(out[-4:]).all()


def test_every_frame_predicted_is_left_alone():
    values = np.arange(12.0).reshape(6, 2)
    assert interpolate(values, 5, 4, 1).tolist() == values[:5].tolist()


def test_one_prediction_for_a_window_is_that_of_all_its_frames():
    assert interpolate(np.array([3.0, 5.0]), 11, 8, 8).tolist() == [3.0] * 8 + [5.0] * 3
