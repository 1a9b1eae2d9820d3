"""Acceleration errors: within sequences, or across their boundaries as in the original."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maed_jax.evaluation import metrics
from maed_jax.evaluation.protocols import Protocol


def add_acceleration_errors(tracks: Sequence, protocol: Protocol) -> dict[str, str]:
    """Adds `accel`, `accel_frame` and `accel_second` to the `errors` of each track, in place.

    Args:
      tracks: `scoring.TrackScores`; an error is stored at the middle of its three frames.

    Returns:
      The reasons why metrics are missing, by name; they are NaN in the errors.
    """
    missing = {}
    rates = [track.labels.rate for track in tracks]
    within = [_within(track) for track in tracks]
    for track, error, rate in zip(tracks, within, rates):
        # The corrected form requires three consecutive frames of the video.
        even = np.diff(track.labels.frame) == track.labels.step
        corrected = error.copy()
        corrected[1:-1][~(even[1:] & even[:-1])] = np.nan
        track.errors["accel_frame"] = corrected
        track.errors["accel_second"] = _per_second(corrected, rate)
    errors = _concatenated(tracks) if protocol.accel == "concatenated" else within
    for track, error, rate in zip(tracks, errors, rates):
        if protocol.accel_trim:
            finite = np.flatnonzero(np.isfinite(error))
            ends = np.r_[finite[: protocol.accel_trim], finite[-protocol.accel_trim :]]
            error[ends] = np.nan
        if protocol.accel_unit == "second":
            error = _per_second(error, rate)
        track.errors["accel"] = error
    if not all(rates):
        missing["accel_second"] = "m/s^2: the records do not give the frame rate"
        if protocol.accel_unit == "second":
            missing["accel"] = f"ACCEL in {missing['accel_second']}"
    for name in ("accel", "accel_frame"):
        if name not in missing and not any(np.isfinite(t.errors[name]).any() for t in tracks):
            missing[name] = "ACCEL: no three consecutive frames are labelled"
    return missing


def _within(track) -> np.ndarray:
    """Returns errors within a track, mm per frame^2 `[t]`, NaN without three labelled frames."""
    out = np.full(len(track.joints), np.nan)
    valid = np.isfinite(track.joint_errors)
    out[1:-1] = metrics.accel_error(track.joints, track.target_joints, valid)
    return out


def _concatenated(tracks: Sequence) -> list[np.ndarray]:
    """Returns the same for the valid frames of all tracks, concatenated as one sequence."""
    joints, target, joint_errors = (
        np.concatenate([getattr(track, name) for track in tracks])
        for name in ("joints", "target_joints", "joint_errors")
    )
    frames = np.flatnonzero(np.isfinite(joint_errors).any(-1))
    out = np.full(len(joints), np.nan)
    valid = np.isfinite(joint_errors[frames])
    out[frames[1:-1]] = metrics.accel_error(joints[frames], target[frames], valid)
    return np.split(out, np.cumsum([len(track.joints) for track in tracks])[:-1])


def _per_second(error: np.ndarray, rate: float) -> np.ndarray:
    """Converts mm per frame^2 to m/s^2; NaN if the rate is unknown (0)."""
    return error * rate**2 / metrics.MILLIMETRES if rate else np.full_like(error, np.nan)
