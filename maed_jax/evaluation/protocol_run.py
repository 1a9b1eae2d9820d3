"""A split under one protocol or several: which frames count, the pass, the errors.

Protocols that show the model the same pictures share one pass over them.
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
class Pass:
    """How the model reads a split."""

    stride: int
    """frames between those of a clip; 1: consecutive"""
    margin: float
    """of crops, unless the protocol has its own"""
    frames_per_batch: int
    every: int = 1
    """predict every n-th frame and interpolate"""


@dataclasses.dataclass
class Result:
    """One protocol's figures and what they come from."""

    scores: Scores
    baseline: Scores | None
    """of a constant pose, where one was given"""
    clips: EvaluationClips
    predicted: Predicted
    """frame by frame"""


def choose_frames(labels: TrackLabels, protocol: Protocol) -> np.ndarray:
    """The frames of a track that count, int64.

    Raises:
      UserError: the track cannot be thinned out to the protocol's frame rate.
    """
    wanted = protocol.frames.split("-")
    kept = np.ones(len(labels), bool)
    if "visible" in wanted:
        kept &= labels.limbs_seen > ENOUGH_LIMBS
    if "valid" in wanted:
        kept &= labels.valid
    if "inside" in wanted:
        kept &= labels.inside
    if protocol.frame_rate:
        every = labels.frame_rate / protocol.frame_rate
        if every < 1 or every % 1 or int(every) % labels.step:
            has = f"{labels.rate:g}" if labels.rate else "an unknown number of"
            raise UserError(
                f"protocol {protocol.label} wants {protocol.frame_rate:g} frames a second and the "
                f"records have {has}; --protocol.frame_rate=0 takes them all"
            )
        kept &= labels.frame % int(every) == 0
    return np.flatnonzero(kept)


def select(
    tracks: Sequence[Track], labels: Sequence[TrackLabels], protocol: Protocol
) -> tuple[list[Track], list[TrackLabels], list[np.ndarray]]:
    """The tracks that a protocol looks at, their labels and which of their frames.

    Raises:
      UserError: none are left.
    """
    found = []
    for track, all_labels in zip(tracks, labels):
        if protocol.tracks in track.name:
            for part, frames in _parts(track, all_labels, protocol):
                found.append((part, all_labels.take(frames), frames))
    if not found:
        raise UserError(f"protocol {protocol.label} leaves no frame of this split")
    return tuple(map(list, zip(*found)))


def _parts(track: Track, labels: TrackLabels, protocol: Protocol):
    """Yields the sequences that a track gives, named by their first frame where it is cut."""
    frames = choose_frames(labels, protocol)
    apart = 1  # frames that are next to each other once the track is thinned out
    if protocol.frame_rate:
        apart = round(labels.frame_rate / protocol.frame_rate) // labels.step
    if protocol.gaps == "cut" and len(frames) < -(-track.length // apart):
        for part in np.split(frames, np.flatnonzero(np.diff(frames) > apart) + 1):
            if len(part):
                yield dataclasses.replace(track, name=f"{track.name}:{part[0]}"), part
    elif len(frames):
        yield track, frames


def run(
    estimator: Estimator,
    bodies: Bodies,
    records: Records,
    protocols: Sequence[Protocol],
    how: Pass,
    *,
    baseline: tuple[np.ndarray, np.ndarray] | None = None,
    progress: Callable = lambda items, what: items,
) -> list[Result]:
    """Evaluates an estimator on a split.

    Args:
      estimator: a body of keypoints is enough for it, as errors are those of `bodies`.
      baseline: rotations `[24 3 3]` and betas `[10]` to compare with.
      progress: called as `progress(iterable, what)`; gives the same items.

    Raises:
      UserError: a body, labels or frames that a protocol asks for are not there.
    """
    labels = [read_labels(records, track) for track in progress(records.tracks, "labels")]
    for protocol in protocols:  # complaints come before the work
        bodies.check(protocol, labels)
        select(records.tracks, labels, protocol)
    clips_per_batch = max(1, how.frames_per_batch // estimator.clip_length)
    on_all_devices, clips_per_batch = on_local_devices(estimator, clips_per_batch)
    passes: dict[tuple, tuple[EvaluationClips, Predicted]] = {}
    results = []
    for protocol in protocols:
        if protocol.sees not in passes:
            tracks, chosen, frames = select(records.tracks, labels, protocol)
            clips = EvaluationClips(
                records,
                tracks,
                estimator.clip_length,
                estimator.image_size,
                stride=how.stride,
                batch_size=clips_per_batch,
                margin=protocol.margin or how.margin,
                frames=frames,
                every=how.every,
                labels=chosen,
            )
            predicted = predict(
                on_all_devices,
                clips,
                flip=protocol.flip,
                progress=lambda batches: progress(batches, "evaluate"),
            )
            passes[protocol.sees] = clips, predicted
        clips, predicted = passes[protocol.sees]
        results.append(
            Result(
                score(predicted, clips, bodies, protocol),
                score(constant(*baseline, clips), clips, bodies, protocol) if baseline else None,
                clips,
                by_frame(predicted, clips),
            )
        )
    return results
