"""Contact sheets: frames of a prepared dataset with their labels drawn on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from maed_jax.body.skeleton import KEYPOINT_NAMES, SKELETON_BONES
from maed_jax.data import schema
from maed_jax.data.images import decode_jpeg
from maed_jax.errors import UserError

LEFT, RIGHT, MIDDLE = (255, 140, 0), (0, 150, 255), (60, 220, 90)  # RGB: orange is the left
TILE = 192  # pixels


def draw_labels(image: np.ndarray, keypoints_2d: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Draws box and skeleton on a copy of uint8 [h w 3] RGB.

    The person's left is orange, the right blue; keypoints without confidence are left out.
    keypoints_2d: [49 3] pixels and confidence; box: centre x, y, width, height in pixels.
    """
    image = image.copy()
    x, y, w, h = box
    cv2.rectangle(
        image, _point((x - w / 2, y - h / 2)), _point((x + w / 2, y + h / 2)), (255, 255, 0), 1
    )
    for start, end in SKELETON_BONES:
        if min(keypoints_2d[[start, end], 2]) > 0:
            ends = [_point(keypoints_2d[i, :2]) for i in (start, end)]
            cv2.line(image, *ends, _color(KEYPOINT_NAMES[end]), 1, cv2.LINE_AA)
    for name, (px, py, confidence) in zip(KEYPOINT_NAMES, keypoints_2d):
        if confidence > 0:
            cv2.circle(image, _point((px, py)), 1, _color(name), -1)
    return image


def write_sheet(
    directory: str | Path, path: str | Path, split: str = "test", tracks: int = 8, frames: int = 8
) -> None:
    """Writes a picture of one row per track, labels on every other frame.

    directory: of the prepared dataset; tracks, frames: how many, evenly spread.

    Raises:
      UserError: no such dataset or split, or the picture cannot be written.
    """
    directory = Path(directory)
    if not (directory / "dataset_info.json").is_file():
        raise UserError(f"{directory} is no prepared dataset: it has no dataset_info.json")
    table = schema.read_tracks(directory, split)
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(directory).as_data_source(split)
    rows = []
    for number in _spread(len(table), tracks):
        track = table[number]
        row = []
        for i, t in enumerate(_spread(track.length, frames)):
            record = source[track.start + t]
            image = decode_jpeg(record[schema.IMAGE])
            scale = TILE / image.shape[0]
            image = cv2.resize(image, (round(image.shape[1] * scale), TILE))
            if i % 2:
                points = record["keypoints_2d"] * np.array([scale, scale, 1])
                image = draw_labels(image, points, record["box"] * scale)
            row.append(image[:, :TILE])
        row = np.hstack([np.pad(x, ((0, 0), (0, TILE - x.shape[1]), (0, 0))) for x in row])
        label = f"{track.name} {track.subset}"
        cv2.putText(row, label, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(row, label, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
        rows.append(row)
    try:
        done = cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])
    except cv2.error:
        raise UserError(f"{path}: give it the name of a picture, such as sheet.png") from None
    if not done:
        raise UserError(f"{path} cannot be written")


def _spread(total: int, wanted: int) -> list[int]:
    return sorted(set(np.linspace(0, total - 1, min(total, max(1, wanted))).astype(int).tolist()))


def _point(xy) -> tuple[int, int]:
    return int(round(float(xy[0]))), int(round(float(xy[1])))


def _color(name: str) -> tuple[int, int, int]:
    short = name.removeprefix("OP ").lower()
    if short == name.lower() and name[0].isupper():  # "Spine (H36M)" and the like
        return MIDDLE
    return {"l": LEFT, "r": RIGHT}.get(short[0], MIDDLE)
