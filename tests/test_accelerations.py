"""Acceleration errors of motions with known accelerations."""

import numpy as np
import pytest

from maed_jax.data.track_labels import TrackLabels
from maed_jax.evaluation.accelerations import add_acceleration_errors
from maed_jax.evaluation.protocol_choice import choose
from maed_jax.evaluation.scoring import TrackScores


def track(positions, frame=None, rate=30.0, missing=()):
    """One joint, still in the ground truth and predicted at `positions` along x, metres."""
    t = len(positions)
    joints = np.zeros((t, 1, 3))
    joints[:, 0, 0] = positions
    target = np.zeros_like(joints)
    target[list(missing)] = np.nan
    frame = np.arange(t) if frame is None else np.array(frame)
    nothing = np.zeros((t, 1))
    labels = TrackLabels(
        frame, nothing > 0, nothing, nothing > 0, nothing > 0, nothing, nothing, nothing, rate,
        "neutral", "smpl",
    )  # fmt: skip
    errors = np.linalg.norm(joints - target, axis=-1)
    return TrackScores("one", "", labels, joints, target, errors, errors, {})


def add(tracks, *settings, name="tcmr"):
    (protocol,) = choose("3dpw", name, settings)
    missing = add_acceleration_errors(tracks, protocol)
    return [t.errors["accel"] for t in tracks], missing


def test_units():
    falling = [track(0.5 * 0.002 * np.arange(6) ** 2)]  # 2 mm/frame^2
    (error,), missing = add(falling)
    np.testing.assert_allclose(error, [np.nan, 2, 2, 2, 2, np.nan])
    np.testing.assert_allclose(falling[0].errors["accel_frame"][1:-1], 2)
    np.testing.assert_allclose(falling[0].errors["accel_second"][1:-1], 1.8)
    assert not missing
    (error,), _ = add(falling, ("accel_unit", "second"), ("accel_trim", "1"))
    np.testing.assert_allclose(error, [np.nan, np.nan, 1.8, 1.8, np.nan, np.nan])
    # The same motion, labelled in every second frame of the video: 15 frames per second.
    every_second = [track(0.5 * 0.008 * np.arange(6) ** 2, frame=np.arange(0, 12, 2))]
    add(every_second)
    np.testing.assert_allclose(every_second[0].errors["accel_second"][1:-1], 1.8)


def test_the_originals_runs_across_sequences():
    """At constant speed, acceleration appears only at the boundary between two sequences."""
    tracks = [track(0.01 * np.arange(5)), track(1 - 0.01 * np.arange(4))]
    (first, second), _ = add(tracks, name="maed")
    np.testing.assert_allclose(first, [np.nan, 0, 0, 0, 950], atol=1e-9)  # 0.03, 0.04, 1
    np.testing.assert_allclose(second, [970, 0, 0, np.nan], atol=1e-9)  # 0.04, 1, 0.99
    for found in tracks:
        assert np.nanmax(found.errors["accel_frame"]) < 1e-9


def test_every_sequence_has_its_own_errors_of_those_run_together():
    lengths = (4, 1, 3, 5)
    tracks = [track(np.full(n, 0.01 * i)) for i, n in enumerate(lengths)]
    found, _ = add(tracks, name="maed")
    assert [len(error) for error in found] == list(lengths)
    # A step of 10 mm shows on both sides; between two successive steps, motion is steady.
    expected = [np.nan, 0, 0, 10, 0, 10, 0, 10, 10, 0, 0, 0, np.nan]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-9)


def test_seconds_are_missing_where_one_rate_is():
    _, missing = add([track(np.zeros(5)), track(np.zeros(5), rate=0.0)])
    assert set(missing) == {"accel_second"}


def test_gaps():
    """Frame 4 has no label, 7 is missing: the original closes gaps, the corrected form drops the
    errors next to them."""
    x = 0.01 * np.array([0, 1, 2, 3, 4, 5, 6, 8, 9, 10])
    frame = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
    (error,), _ = add([found := track(x, frame, missing=[4])], name="maed")
    np.testing.assert_allclose(error, [np.nan, 0, 0, 10, np.nan, 10, 10, 10, 0, np.nan], atol=1e-9)
    (error,), _ = add([found], name="tcmr")
    nan = np.nan
    np.testing.assert_allclose(error, [nan, 0, 0, nan, nan, nan, 10, 10, 0, nan], atol=1e-9)
    corrected = found.errors["accel_frame"]
    np.testing.assert_allclose(corrected, [nan, 0, 0, nan, nan, nan, nan, nan, 0, nan], atol=1e-9)


@pytest.mark.parametrize("length", [1, 2])
def test_what_cannot_be_measured_says_why(length):
    (error,), missing = add([track(np.zeros(length), rate=0.0)])
    assert np.isnan(error).all()
    assert missing["accel"] == "ACCEL: no three consecutive frames are labelled"
    _, missing = add([track(np.zeros(5), rate=0.0)], ("accel_unit", "second"))
    assert "the frame rate" in missing["accel"] and "accel_frame" not in missing
