"""Images that show the ground truth: each joint is a dot that can be found by its colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import raw_toy

from maed_jax.data import prepare
from maed_jax.data.images import decode_image
from maed_jax.data.records import Records

COLOURS = {
    "lwrist": (255, 0, 0), "rwrist": (0, 0, 255), "lankle": (0, 255, 0), "rankle": (255, 255, 0),
    "lshoulder": (0, 255, 255), "rshoulder": (255, 0, 255), "lknee": (255, 255, 255),
    "rknee": (255, 128, 0),
}  # fmt: skip
BACKGROUND = 110
# Their indices among the 49 keypoints: LSP's and COCO's, or OpenPose's.
LSP = {"lwrist": 36, "rwrist": 31, "lankle": 30, "rankle": 25, "lshoulder": 34, "rshoulder": 33,
       "lknee": 29, "rknee": 26}  # fmt: skip
OPENPOSE = {"lwrist": 7, "rwrist": 4, "lankle": 14, "rankle": 11, "lshoulder": 5, "rshoulder": 2,
            "lknee": 13, "rknee": 10}  # fmt: skip
# A person facing the camera (their left is on the right of the image): offsets from the middle of
# the shoulders, in units of the person's height.
FACING = {
    "nose": (0, -0.1), "neck": (0, -0.02), "headtop": (0, -0.2),
    "lshoulder": (0.1, 0), "rshoulder": (-0.1, 0), "lelbow": (0.15, 0.15), "relbow": (-0.14, 0.16),
    "lwrist": (0.2, 0.3), "rwrist": (-0.3, 0.22), "lhip": (0.06, 0.3), "rhip": (-0.06, 0.3),
    "lknee": (0.07, 0.5), "rknee": (-0.08, 0.52), "lankle": (0.12, 0.7), "rankle": (-0.1, 0.72),
}  # fmt: skip


def person(x: float, y: float, height: float) -> dict[str, tuple[float, float]]:
    """Returns the joints of a person whose shoulders are at x, y: name -> pixels."""
    return {name: (x + height * dx, y + height * dy) for name, (dx, dy) in FACING.items()}


def draw(joints: dict[str, tuple[float, float]], width: int = 160, height: int = 120):
    """RGB uint8 [h w 3]."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    for name, colour in COLOURS.items():
        if name in joints:
            x, y = joints[name]
            centre = round(x * 16), round(y * 16)
            cv2.circle(image, centre, 5 * 16, colour, -1, cv2.LINE_AA, shift=4)
    return image


def jpeg(image: np.ndarray) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return cv2.imencode(".jpg", image[..., ::-1], flags)[1].tobytes()


def dots(image: np.ndarray) -> dict[str, np.ndarray]:
    """Finds the dots in an image: name -> x, y of the centre, pixels."""
    found = {}
    palette = np.array([*COLOURS.values(), (BACKGROUND,) * 3, (0, 0, 0)], float)
    nearest = np.linalg.norm(image[:, :, None] - palette, axis=-1).argmin(-1)
    for number, name in enumerate(COLOURS):
        rows, columns = np.nonzero(nearest == number)
        if len(rows) > 20:
            found[name] = np.array([np.median(columns), np.median(rows)])
    return found


def check_dots(record: dict, expected: int, tolerance: float = 1.0, index=LSP) -> None:
    """Checks that a record's 2D keypoints are at its image's dots, and its box encloses them."""
    seen = dots(decode_image(record["image"]))
    assert len(seen) >= expected, f"only {sorted(seen)} are visible"
    for name, place in seen.items():
        x, y, confidence = record["keypoints_2d"][index[name]]
        assert confidence == 1, name
        assert np.hypot(*(place - (x, y))) < tolerance, (name, place, (x, y))
        assert (np.abs(place - record["box"][:2]) <= record["box"][2:] / 2 + tolerance).all(), name


def builds(monkeypatch, name: str, data_dir: Path, **defaults) -> Callable[..., Path]:
    """Returns a function of raw folder, config and options that builds `name` in this process.

    defaults: default options, possibly including `config`.
    """
    raw_toy.in_this_process(monkeypatch)

    def build(raw: Path, config: str | None = None, **options) -> Path:
        options = defaults | ({"config": config} if config else {}) | options
        return prepare.build(name, data_dir, manual_dir=raw, **options)

    return build


def read_back(directory, split: str) -> list[dict]:
    records = Records(directory, split)
    return [records[i] for i in range(len(records))]
