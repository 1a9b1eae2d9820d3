"""A synthetic video of a person crossing the image, whom the built-in detector finds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from maed_jax.bench.synthetic import photo
from maed_jax.inference.video import VideoWriter

FPS = 30.0
# Ellipses that make up a standing person: centre, width and height, in heights of the person.
PARTS = (
    (0.0, -0.43, 0.11, 0.14),
    (0.0, -0.18, 0.24, 0.38),
    (-0.13, -0.14, 0.07, 0.36),
    (0.13, -0.14, 0.07, 0.36),
    (-0.06, 0.22, 0.11, 0.54),
    (0.06, 0.22, 0.11, 0.54),
)


def write_walk(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Writes an H.264 video of `frames` frames; `size`: width and height in pixels."""
    width, height = size
    ground = cv2.resize(photo(256), size, interpolation=cv2.INTER_CUBIC)
    ground = cv2.addWeighted(ground, 0.25, np.full_like(ground, 190), 0.75, 0)
    with VideoWriter(path, FPS) as writer:
        for number in range(frames):
            fraction = 0.3 + 0.4 * number / max(frames - 1, 1)
            image = ground.copy()
            draw_person(image, fraction * width, 0.5 * height, 0.6 * height)
            writer.write(image, number / FPS)


def draw_person(image: np.ndarray, x: float, y: float, height: float) -> None:
    """Draws a person `height` pixels tall, centred on (x, y), on an image, uint8 `[h w 3]`."""
    for dx, dy, w, h in PARTS:
        centre = round(x + dx * height), round(y + dy * height)
        axes = max(1, round(w * height / 2)), max(1, round(h * height / 2))
        cv2.ellipse(image, centre, axes, 0, 0, 360, (60, 60, 90), -1, cv2.LINE_AA)
