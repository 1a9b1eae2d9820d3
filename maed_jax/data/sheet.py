"""Contact sheets: frames of a prepared dataset with their labels drawn on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from maed_jax.body.skeleton import KEYPOINT_NAMES, SKELETON_BONES
from maed_jax.data import schema
from maed_jax.data.images import decode_image
from maed_jax.data.pixels import nearest, rescaled
from maed_jax.data.records import Records
from maed_jax.errors import UserError
from maed_jax.files.atomic import atomic_write

LEFT, RIGHT, MIDDLE = (255, 140, 0), (0, 150, 255), (60, 220, 90)  # RGB: orange is the left
TILE = 224  # pixels
COLUMNS = 8  # tiles per row; even, because single images are shown in pairs


def draw_labels(image: np.ndarray, keypoints_2d: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Draws box and skeleton on a copy of an image.

    The person's left is orange, the right blue; keypoints without confidence are left out, as is
    anything that is not finite.

    Args:
      image: uint8 `[h w 3]`, RGB.
      keypoints_2d: `[49 3]`, pixels and confidence.
      box: centre x, centre y, width, height, pixels.
    """
    image = image.copy()
    if np.isfinite(box).all():
        corners = nearest(box[:2] - box[2:] / 2), nearest(box[:2] + box[2:] / 2)
        cv2.rectangle(image, *corners, (255, 255, 0), 1)
    shown = np.isfinite(keypoints_2d).all(-1) & (keypoints_2d[:, 2] > 0)
    for start, end in SKELETON_BONES:
        if shown[start] and shown[end]:
            ends = [nearest(keypoints_2d[i, :2]) for i in (start, end)]
            cv2.line(image, *ends, _color(KEYPOINT_NAMES[end]), 1, cv2.LINE_AA)
    for i in np.flatnonzero(shown):
        cv2.circle(image, nearest(keypoints_2d[i, :2]), 1, _color(KEYPOINT_NAMES[i]), -1)
    return image


def write_sheet(directory: str | Path, path: str | Path, split: str, tracks: int) -> None:
    """Writes an image of tracks, with labels on every other tile.

    A row shows frames of one track; if all tracks are single images, it shows several of them, each
    without and with labels.

    Args:
      directory: folder of the prepared dataset.
      path: the image to write.
      tracks: number of rows.

    Raises:
      UserError: no such dataset or split, or the image cannot be written.
    """
    records = Records(directory, split)
    stills = all(track.length == 1 for track in records.tracks)
    count = tracks * COLUMNS // 2 if stills else tracks
    tiles, blank = [], np.zeros((TILE, TILE, 3), np.uint8)
    for number in _evenly_spaced(len(records.tracks), count):
        track = records.tracks[number]
        frames = [0, 0] if track.length == 1 else _evenly_spaced(track.length, COLUMNS)
        for i, t in enumerate(frames):
            tiles.append(_tile(records, track.start + t, labels=bool(i % 2)))
            if i == 0:
                _put_text(tiles[-1], f"{track.name} {track.subset}")
        if not stills:
            tiles += [blank] * (-len(tiles) % COLUMNS)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
    sheet = np.vstack(rows)
    try:
        ok, data = cv2.imencode(Path(path).suffix, sheet[..., ::-1])
    except cv2.error:
        raise UserError(f"{path} is not the name of an image: use one such as sheet.png") from None
    if not ok:
        raise UserError(
            f"{path} cannot be an image of {sheet.shape[1]} x {sheet.shape[0]} pixels: use .png"
        )
    with atomic_write(path) as file:
        file.write(data)


def _tile(records: Records, index: int, labels: bool) -> np.ndarray:
    """Returns a record's image in a square of TILE pixels, with or without its labels."""
    try:
        record = records[index]
        image = decode_image(record[schema.IMAGE])
    except Exception as error:  # damaged files can raise nearly anything
        empty = np.zeros((TILE, TILE, 3), np.uint8)
        _put_text(empty, f"record {index}: {type(error).__name__}", row=30)
        return empty
    scale = TILE / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if labels:
        keypoints, box = record["keypoints_2d"], record["box"]
        keypoints = np.c_[rescaled(keypoints[:, :2], scale), keypoints[:, 2]]
        box = np.r_[rescaled(box[:2], scale), box[2:] * scale]
        image = draw_labels(image, keypoints, box)
    height, width = image.shape[:2]
    return np.pad(image, ((0, TILE - height), (0, TILE - width), (0, 0)))


def _put_text(tile: np.ndarray, text: str, row: int = 12) -> None:
    style = cv2.FONT_HERSHEY_SIMPLEX, 0.35
    cv2.putText(tile, text, (3, row), *style, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, text, (3, row), *style, (255, 255, 255), 1)


def _evenly_spaced(total: int, count: int) -> list[int]:
    return sorted(set(np.linspace(0, total - 1, min(total, max(1, count))).astype(int).tolist()))


def _color(name: str) -> tuple[int, int, int]:
    short = name.removeprefix("OP ").lower()
    if short == name.lower() and name[0].isupper():  # "Spine (H36M)" and the like
        return MIDDLE
    return {"l": LEFT, "r": RIGHT}.get(short[0], MIDDLE)
