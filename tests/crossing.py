"""Renders a video of two people who walk past each other, and judges the tracks found in it.

`scripts/prove_crossing.py` does this for many videos, `test_crossing.py` for one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maed_jax.datasets.mannequins import demo_video
from maed_jax.inference.detect import make_detector
from maed_jax.inference.detections import iou
from maed_jax.inference.people import find_people
from maed_jax.inference.track import Track
from maed_jax.inference.video import open_video

APART = 60  # pixels between two people's centres from which they count as apart


def film(
    folder: Path, seed: int, frames: int = 84, detector: str = "hog"
) -> tuple[list[Track], np.ndarray]:
    """Returns the tracks found in a rendered video, and the true boxes [2 frames 4].

    detector: as for `maed predict --detector`.
    """
    video_file = folder / f"crossing_{seed}.mp4"
    with np.load(demo_video.write_video(video_file, seed=seed, frames=frames)) as file:
        truth = file["box"]
    return find_people(open_video(video_file), make_detector(detector)).tracks, truth


def mistakes(tracks: list[Track], truth: np.ndarray) -> list[str]:
    """Returns what is wrong: each person should have one track, from first frame to last."""
    found, owners = [], []
    for track in tracks:
        overlap = np.stack(
            [[iou(a, b)[0, 0] for a, b in zip(track.boxes, boxes[track.frames])] for boxes in truth]
        )
        owner = int(np.argmax(overlap.sum(1)))
        owners.append(owner)
        apart = np.abs(truth[0, track.frames, 0] - truth[1, track.frames, 0]) > APART
        if not (overlap[owner, apart] > overlap[1 - owner, apart]).all():
            found.append(f"track {track.id} changes from one person to the other")
        if len(track.frames) < 0.8 * truth.shape[1]:
            found.append(f"track {track.id} has {len(track.frames)} of {truth.shape[1]} frames")
    if sorted(owners) != [0, 1]:
        found.append(f"{owners.count(0)} and {owners.count(1)} tracks of the two people")
    return found
