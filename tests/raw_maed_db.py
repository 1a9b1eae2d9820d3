"""Writes databases like the original's scripts, including paths on someone else's machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import raw_dots
from joblib_writer import joblib_bytes

SOMEWHERE = "/mnt/lustre/somebody/data"
FRAMES = 12


def content(folder: Path, videos=("downtown_walk_0", "downtown_walk_1"), body=True) -> dict:
    """Returns a database like 3DPW's, of people walking to the right, and writes their images."""
    names, of, points, boxes = [], [], [], []
    for number, video in enumerate(videos):
        (folder / "3dpw/imageFiles" / video).mkdir(parents=True)
        for n in range(FRAMES):
            joints = raw_dots.person(60 + 2 * n, 30 + 2 * number, 100)
            name = f"3dpw/imageFiles/{video}/image_{5 + n:05d}.jpg"
            (folder / name).write_bytes(raw_dots.jpeg(raw_dots.draw(joints)))
            names.append(f"{SOMEWHERE}/{name}")
            of.append(video)
            labels = np.zeros((49, 3))
            for joint, index in raw_dots.LSP.items():
                labels[index] = *joints[joint], 1
            points.append(labels)
            boxes.append([60 + 2 * n - 5, 30 + 2 * number + 30, 100, 100])
    n = len(names)
    # 3 metres away, seen by a camera with a focal length of 180 pixels
    spatial = np.zeros((n, 49, 4))
    points = np.array(points)
    spatial[..., :2] = (points[..., :2] - (79.5, 59.5)) * 3 / 180
    spatial[..., 2:] = 3, 1
    spatial[points[..., 2] == 0] = 0
    found = {
        "vid_name": np.array(of), "img_name": np.array(names), "joints2D": points,
        "joints3D": spatial, "bbox": np.array(boxes, float), "frame_id": np.arange(n),
        "valid": np.arange(n) != 3,
    }  # fmt: skip
    if body:
        found |= {"pose": np.full((n, 72), 0.25), "shape": np.full((n, 10), 0.5)}
    return found


def save(folder: Path, name: str, found: dict, pack=bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_db.pt"
    path.write_bytes(pack(joblib_bytes(found)))
    return path
