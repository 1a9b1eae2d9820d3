"""Computes the errors of predictions in each frame, as a protocol defines them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from maed_jax.body import smpl
from maed_jax.body.files import Source, load_body
from maed_jax.data.track_labels import TrackLabels
from maed_jax.errors import UserError
from maed_jax.evaluation import metrics, posing
from maed_jax.evaluation.accelerations import add_acceleration_errors
from maed_jax.evaluation.predictions import Predicted
from maed_jax.evaluation.protocols import METRICS, PRESETS, Protocol

(PLAIN,) = PRESETS["other"]
"""the protocol for validation during training and for the study"""


@dataclasses.dataclass
class TrackScores:
    """Errors of one track; NaN where a frame or a joint does not count."""

    name: str
    subset: str
    labels: TrackLabels
    joints: np.ndarray
    """[t joints 3] predicted, relative to the root, metres, camera axes, float64"""
    target_joints: np.ndarray
    """[t joints 3] ground truth"""
    joint_errors: np.ndarray
    """[t joints] mm, relative to the root"""
    pa_joint_errors: np.ndarray
    """[t joints] mm, aligned"""
    errors: dict[str, np.ndarray]
    """[t] for each of `METRICS`; acceleration errors are at the middle of their three frames"""


@dataclasses.dataclass
class Scores:
    """The errors of a split under one protocol."""

    protocol: Protocol
    tracks: list[TrackScores]
    missing: dict[str, str]
    """metrics that could not be measured, and why"""


class Bodies:
    """The neutral body and, loaded from the same place on demand, the gendered ones."""

    def __init__(self, neutral: smpl.Body, source: Source | None = None):
        """`source`: where `neutral` was loaded from, see `load_body`."""
        self._source = source
        self._bodies, self._restricted = {"neutral": neutral}, {}

    def of(self, gender: str) -> smpl.Body:
        """Returns the body of a gender. Raises: UserError: there is none."""
        if gender not in self._bodies:
            self._bodies[gender] = load_body(self._source, gender)
        return self._bodies[gender]

    def points_of(self, source: str) -> smpl.Body:
        """Returns the neutral body restricted to the points of `source`, see
        `posing.points_body`."""
        if source not in self._restricted:
            self._restricted[source] = posing.points_body(self.of("neutral"), source)
        return self._restricted[source]

    def check(self, protocol: Protocol, labels: Iterable[TrackLabels]) -> None:
        """Raises: UserError: a body that the protocol or the labels need is missing."""
        for track in labels:
            if protocol.truth != "keypoints":
                check_body([track], self.of("neutral").name, "--body")
            if protocol.truth == "gendered":
                try:
                    self.of(track.gender)
                except UserError as error:
                    raise UserError(f"protocol {protocol.label}: {error}") from None


def check_body(labels: Iterable[TrackLabels], body: str, option: str) -> None:
    """Checks that labelled poses and shapes are those of the model's body.

    Args:
      body: name of the model's body.
      option: the option with which the user chooses another one.

    Raises:
      UserError: they are those of another body.
    """
    for track in labels:
        if track.has_smpl.any() and track.body != body:
            raise UserError(
                f"the labels are for the body {track.body!r}, but the model's is {body!r}: choose "
                f"the right one with {option}"
            )


def score(predicted: Predicted, clips, bodies: Bodies, protocol: Protocol) -> Scores:
    """Compares predictions with the labels of the `clips` for which they were made.

    Raises:
      UserError: no frame has the labels that the protocol needs.
    """
    tracks = [
        _score_track(clips, number, predicted, bodies, protocol)
        for number in range(len(clips.tracks))
    ]
    if not any(np.isfinite(track.errors["mpjpe"]).any() for track in tracks):
        lacks = "3D keypoint labels" if protocol.truth == "keypoints" else "pose labels"
        raise UserError(f"no frame of this split can be evaluated: none has {lacks}")
    missing = add_acceleration_errors(tracks, protocol)
    if protocol.truth == "keypoints":
        missing["pve"] = "PVE: the ground truth is keypoints, which have no surface"
    return Scores(protocol, tracks, missing)


def _score_track(
    clips, number: int, predicted: Predicted, bodies: Bodies, protocol: Protocol
) -> TrackScores:
    labels, joint_set = clips.labels[number], protocol.joint_set
    root, labelled_root = joint_set.root(protocol.root)
    prediction = predicted["rotmat"][number], predicted["shape"][number]
    errors = {name: np.full(len(labels), np.nan) for name in METRICS}
    if protocol.truth == "keypoints":
        body = bodies.points_of(joint_set.source)
        points = posing.body_points(
            posing.Poses(body, *prediction), joint_set.source, len(labels), clips.span, clips.every
        )
        keypoints, labelled = labels.keypoints_3d[..., :3], labels.keypoints_3d[..., 3] > 0
        target = metrics.centre(keypoints, labelled_root)[:, joint_set.of_keypoints]
        valid, has_root = labelled[:, joint_set.of_keypoints], labelled[:, labelled_root].all(-1)
    else:
        true_body = bodies.of(labels.gender if protocol.truth == "gendered" else "neutral")
        points, true_points, errors["pve"] = posing.compare(
            posing.Poses(bodies.of("neutral"), *prediction),
            posing.Poses(true_body, posing.rotations(labels.pose), labels.shape),
            joint_set.source,
            root if protocol.pve == "root" else None,
            clips.span,
            clips.every,
        )
        target = metrics.centre(true_points, root)[:, joint_set.of_body]
        has_root = labels.has_smpl
        valid = np.broadcast_to(has_root[:, None], target.shape[:2])
    joints = metrics.centre(points, root)[:, joint_set.of_body]
    evaluated = has_root & np.isfinite(joints).all((-1, -2))
    valid = valid & evaluated[:, None]
    joints = np.where(evaluated[:, None, None], joints, np.nan)
    target = np.where(valid[..., None], target, np.nan)
    joint_errors = metrics.distances(joints, target)
    pa_joint_errors = metrics.distances(metrics.procrustes_align(joints, target, valid), target)
    pck_joints = list(joint_set.pck)
    for prefix, distance in (("", joint_errors), ("pa_", pa_joint_errors)):
        errors[f"{prefix}mpjpe"] = metrics.mean_of_valid(distance, valid)
        errors[f"{prefix}pck"] = metrics.pck(distance[:, pck_joints], valid[:, pck_joints])
        errors[f"{prefix}auc"] = metrics.auc(distance[:, pck_joints], valid[:, pck_joints])
    errors["pve"] = np.where(evaluated, errors["pve"], np.nan)
    track = clips.tracks[number]
    return TrackScores(
        track.name, track.subset, labels, joints, target, joint_errors, pa_joint_errors, errors
    )


def plain_scores(predicted: Predicted, clips, body: smpl.Body) -> list[TrackScores]:
    """Computes each track's errors under the protocol `PLAIN`, for training and the study.

    Args:
      predicted, clips: see `predictions.predict`.
      body: poses predictions and labels; needs its H36M regressor.

    Raises:
      UserError: no frame has labels, they are for another body, or it has no H36M regressor.
    """
    check_body(clips.labels, body.name, "--config.body")
    return score(predicted, clips, Bodies(body), PLAIN).tracks
