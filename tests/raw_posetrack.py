"""Writes a tiny PoseTrack 2018 in its owner's format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import raw_dots

ORDER = (
    "nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
DOTS = {"nose": "nose", "head_bottom": "neck", "head_top": "headtop"} | {
    f"{side}_{part}": side[0] + part
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}


def video(folder: Path, part: str, name: str, frames: int = 10, order=ORDER) -> dict:
    """Writes images of someone walking to the right, track 3; returns the JSON's content.

    The first and last of the twelve images are not labelled.
    """
    images, annotations = [], []
    (folder / "images" / part / name).mkdir(parents=True)
    for n in range(frames + 2):
        joints = raw_dots.person(60 + 2 * n, 30, 100)
        file = f"images/{part}/{name}/{n:06d}.jpg"
        (folder / file).write_bytes(raw_dots.jpeg(raw_dots.draw(joints)))
        labelled = 0 < n <= frames
        image = 10128340000 + n
        images.append({
            "file_name": file, "id": image, "frame_id": image, "vid_id": name[:6],
            "nframes": frames + 2, "is_labeled": labelled, "has_no_densepose": True,
        })  # fmt: skip
        if labelled:
            points = [[*joints[DOTS[key]], 1] if key in DOTS else [0, 0, 0] for key in order]
            points[order.index("left_elbow")][2] = 0  # hidden, but labelled
            low, high = np.min(list(joints.values()), 0), np.max(list(joints.values()), 0)
            margin = (high - low) * 0.15
            box = [*(low - margin), *(high - low + 2 * margin)]
            annotations.append({
                "keypoints": np.ravel(points).tolist(), "bbox": box, "bbox_head": box,
                "track_id": 3, "image_id": image, "id": image * 100, "category_id": 1, "scores": [],
            })  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(order)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def save(folder: Path, part: str, name: str, content) -> Path:
    path = folder / "posetrack_data" / "annotations" / part / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write(folder: Path) -> Path:
    for part, name in (("train", "000001_bonn_train"), ("val", "000342_mpii_test")):
        order = ORDER if part == "train" else ORDER[::-1]  # files contain their own order
        save(folder, part, name, video(folder, part, name, order=order))
    return folder
