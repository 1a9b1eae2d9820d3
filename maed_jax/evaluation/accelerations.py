"""Errors of acceleration: within sequences, or the original's way, across their boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maed_jax.evaluation import metrics
from maed_jax.evaluation.protocols import Protocol


def add_acceleration_errors(tracks: Sequence, protocol: Protocol) -> dict[str, str]:
    """Adds `accel`, `accel_frame` and `accel_second` to the errors of these tracks themselves.

    Args:
      tracks: `scoring.TrackScores`; an error stands at the middle of its three frames.

    Returns:
      Why metrics are missing, by name; they are NaN in the errors.
    """
    missing = {}
    rates = [track.labels.rate for track in tracks]
    within = [_within(track) for track in tracks]
    for track, error, rate in zip(tracks, within, rates):
        # The corrected form asks for three consecutive frames of the video.
        even = np.diff(track.labels.frame) == track.labels.step
        corrected = error.copy()
        corrected[1:-1][~(even[1:] & even[:-1])] = np.nan
        track.errors["accel_frame"] = corrected
        track.errors["accel_second"] = _per_second(corrected, rate)
    found = _across(tracks) if protocol.accel == "concatenated" else within
    for track, error, rate in zip(tracks, found, rates):
        if protocol.accel_trim:
            there = np.flatnonzero(np.isfinite(error))
            ends = np.r_[there[: protocol.accel_trim], there[-protocol.accel_trim :]]
            error[ends] = np.nan
        second = protocol.accel_unit == "second"
        track.errors["accel"] = _per_second(error, rate) if second else error
    if not all(rates):
        missing["accel_second"] = "m/s^2: the records do not say how many frames a second they are"
        if protocol.accel_unit == "second":
            missing["accel"] = f"ACCEL in {missing['accel_second']}"
    for name in ("accel", "accel_frame"):
        if name not in missing and not any(np.isfinite(t.errors[name]).any() for t in tracks):
            missing[name] = "ACCEL: there are no three labelled frames in a row"
    return missing


def _within(track) -> np.ndarray:
    """Errors within a track, mm per frame^2 `[t]`, NaN where one of three frames does not count."""
    out = np.full(len(track.joints), np.nan)
    valid = np.isfinite(track.joint_errors)
    out[1:-1] = metrics.accel_error(track.joints, track.target_joints, valid)
    return out


def _across(tracks: Sequence) -> list[np.ndarray]:
    """The same over the frames that count of all tracks, as if they were one sequence."""
    joints, target, apart = (
        np.concatenate([getattr(track, name) for track in tracks])
        for name in ("joints", "target_joints", "joint_errors")
    )
    counted = np.flatnonzero(np.isfinite(apart).any(-1))
    out = np.full(len(joints), np.nan)
    valid = np.isfinite(apart[counted])
    out[counted[1:-1]] = metrics.accel_error(joints[counted], target[counted], valid)
    return np.split(out, np.cumsum([len(track.joints) for track in tracks])[:-1])


def _per_second(error: np.ndarray, rate: float) -> np.ndarray:
    """Millimetres per frame^2 as m/s^2."""
    return error * rate**2 / metrics.MILLIMETRES if rate else np.full_like(error, np.nan)
