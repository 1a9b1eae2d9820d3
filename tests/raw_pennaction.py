"""Writes a tiny Penn Action in its owner's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import raw_dots
import scipy.io

# As seen in the real dataset's images; its description swaps left and right.
ORDER = (
    "nose", "rshoulder", "lshoulder", "relbow", "lelbow", "rwrist", "lwrist",
    "rhip", "lhip", "rknee", "lknee", "rankle", "lankle",
)  # fmt: skip


def write(folder: Path, videos: int = 2, frames: int = 3) -> Path:
    """Writes videos 0001, 0002 ... of someone walking to the right; every second is for testing."""
    for video in range(1, videos + 1):
        images = folder / "frames" / f"{video:04d}"
        images.mkdir(parents=True)
        people = [raw_dots.person(70 + 4 * n, 30, 100) for n in range(frames)]
        for number, joints in enumerate(people, 1):
            image = raw_dots.jpeg(raw_dots.draw(joints))
            (images / f"{number:06d}.jpg").write_bytes(image)
        points = np.array([[joints[name] for name in ORDER] for joints in people])
        # The real files' types: mostly float64, but small numbers may be bytes.
        kind = np.float64 if video % 2 else np.uint8
        write_labels(folder / "labels" / f"{video:04d}.mat", points.astype(kind), video)
    return folder


def write_labels(path: Path, points: np.ndarray, video: int = 1, **changes) -> None:
    """Writes a label file; points: [n 13 2] in the type to store."""
    path.parent.mkdir(exist_ok=True)
    n = len(points)
    visibility = np.ones((n, 13), np.uint8)
    visibility[0, 3] = 0  # hidden joints have coordinates too
    fields = {
        "action": "walk", "pose": "front", "x": points[..., 0], "y": points[..., 1],
        "visibility": visibility, "train": np.int32([[1 if video % 2 else -1]]),
        "bbox": np.full((n - 1, 4), 7, np.uint8),  # one too few, as in 1154 and 1865
        "dimensions": np.uint16([[120, 160, n]]), "nframes": np.uint8([[n]]),
    }  # fmt: skip
    scipy.io.savemat(path, {k: v for k, v in (fields | changes).items() if v is not None})
