"""Evaluates a split under one or more protocols: selects frames, predicts, computes errors.

Protocols that show the model the same frames share one pass over them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from maed_jax.data.eval_clips import EvaluationClips
from maed_jax.data.records import Records
from maed_jax.data.schema import Track
from maed_jax.data.track_labels import TrackLabels, read_labels
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.evaluation.predictions import Predicted, by_frame, constant, on_local_devices, predict
from maed_jax.evaluation.protocols import Protocol
from maed_jax.evaluation.scoring import Bodies, Scores, score

ENOUGH_LIMBS = 6  # a person counts as visible with more. Source: VIBE, MAED and TCMR on 3DPW


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How the model reads a split."""

    stride: int
    """interval between the frames of a clip; 1: consecutive"""
    margin: float
    """side of the crop relative to the longer side of the box, unless the protocol sets its own"""
    frames_per_batch: int
    every: int = 1
    """predict every n-th frame and interpolate"""


@dataclasses.dataclass
class Result:
    """One protocol's errors and what they were computed from."""

    scores: Scores
    baseline: Scores | None
    """of a constant pose, if one was given"""
    clips: EvaluationClips
    predicted: Predicted
    """for every frame, interpolated if need be"""


def choose_frames(labels: TrackLabels, protocol: Protocol) -> np.ndarray:
    """Returns the indices of the frames of a track that the protocol includes, int64.

    Raises:
      UserError: the track cannot be subsampled to the protocol's frame rate.
    """
    conditions = protocol.frames.split("-")
    included = np.ones(len(labels), bool)
    if "visible" in conditions:
        included &= labels.visible_limbs > ENOUGH_LIMBS
    if "valid" in conditions:
        included &= labels.valid
    if "inside" in conditions:
        included &= labels.inside
    if protocol.frame_rate:
        every = labels.frame_rate / protocol.frame_rate
        if every < 1 or every % 1 or int(every) % labels.step:
            has = f"{labels.rate:g}" if labels.rate else "an unknown rate"
            raise UserError(
                f"protocol {protocol.label} needs {protocol.frame_rate:g} frames per second, but "
                f"the records have {has}; --protocol.frame_rate=0 uses all frames"
            )
        included &= labels.frame % int(every) == 0
    return np.flatnonzero(included)


def select(
    tracks: Sequence[Track], labels: Sequence[TrackLabels], protocol: Protocol
) -> tuple[list[Track], list[TrackLabels], list[np.ndarray]]:
    """Returns the tracks that a protocol includes, with their labels and frame indices.

    Raises:
      UserError: no frames are left.
    """
    sequences = []
    for track, all_labels in zip(tracks, labels):
        if protocol.tracks in track.name:
            for part, frames in _parts(track, all_labels, protocol):
                sequences.append((part, all_labels.take(frames), frames))
    if not sequences:
        raise UserError(f"protocol {protocol.label} leaves no frames of this split")
    return tuple(map(list, zip(*sequences)))


def _parts(track: Track, labels: TrackLabels, protocol: Protocol):
    """Yields the sequences of a track and their frames; if cut, named by their first frame."""
    frames = choose_frames(labels, protocol)
    step = 1  # distance of neighbouring frames once the track is subsampled
    if protocol.frame_rate:
        step = round(labels.frame_rate / protocol.frame_rate) // labels.step
    if protocol.gaps == "cut" and len(frames) < -(-track.length // step):
        for part in np.split(frames, np.flatnonzero(np.diff(frames) > step) + 1):
            if len(part):
                yield dataclasses.replace(track, name=f"{track.name}:{part[0]}"), part
    elif len(frames):
        yield track, frames


def run(
    estimator: Estimator,
    bodies: Bodies,
    records: Records,
    protocols: Sequence[Protocol],
    settings: ClipSettings,
    *,
    baseline: tuple[np.ndarray, np.ndarray] | None = None,
    progress: Callable = lambda items, what: items,
) -> list[Result]:
    """Evaluates an estimator on a split.

    Args:
      estimator: its body may be restricted to keypoints, since errors are computed with `bodies`.
      baseline: rotations `[24 3 3]` and betas `[10]` to compare with.
      progress: called as `progress(iterable, what)`; yields the same items.

    Raises:
      UserError: a body, labels or frames that a protocol needs are missing.
    """
    labels = [read_labels(records, track) for track in progress(records.tracks, "labels")]
    for protocol in protocols:  # errors come before the work
        bodies.check(protocol, labels)
        select(records.tracks, labels, protocol)
    clips_per_batch = max(1, settings.frames_per_batch // estimator.clip_length)
    on_all_devices, clips_per_batch = on_local_devices(estimator, clips_per_batch)
    passes: dict[tuple, tuple[EvaluationClips, Predicted]] = {}
    results = []
    for protocol in protocols:
        if protocol.pass_key not in passes:
            tracks, chosen, frames = select(records.tracks, labels, protocol)
            clips = EvaluationClips(
                records,
                tracks,
                estimator.clip_length,
                estimator.image_size,
                stride=settings.stride,
                batch_size=clips_per_batch,
                margin=settings.margin,
                frames=frames,
                every=settings.every,
                labels=chosen,
            )
            predicted = predict(
                on_all_devices,
                clips,
                flip=protocol.flip,
                progress=lambda batches: progress(batches, "evaluate"),
            )
            passes[protocol.pass_key] = clips, predicted
        clips, predicted = passes[protocol.pass_key]
        results.append(
            Result(
                score(predicted, clips, bodies, protocol),
                score(constant(*baseline, clips), clips, bodies, protocol) if baseline else None,
                clips,
                by_frame(predicted, clips),
            )
        )
    return results
