"""Videos of what the model attended to: each frame next to the crop that the model saw, under a
heat map of where it looked, above bars for the clip's frames at which it looked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from maed_jax.data.pixels import rescaled
from maed_jax.inference.person_attention import Attention
from maed_jax.inference.reconstruct import cut, exactly
from maed_jax.inference.results import Person
from maed_jax.inference.video import Frame, Video, VideoWriter, no_progress
from maed_jax.visual.colors import color_of

HEAT = np.array([[20, 14, 54], [92, 22, 110], [182, 54, 84], [240, 120, 32], [252, 222, 108]])
"""from cold to warm, RGB; the viewer's page has the same"""
HEIGHT = 480  # of the video, pixels
STRIP = 96  # part of HEIGHT for the clip's frames
BLOCK = -1  # the block shown: the last, nearest to the output
PAPER, INK, QUIET = (24, 25, 28), (230, 230, 227), (130, 133, 140)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Maps values [...] from 0 to 1 to colours, float [... 3] RGB from 0 to 255."""
    at = np.clip(values, 0, 1) * (len(HEAT) - 1)
    stops = np.arange(len(HEAT))
    return np.stack([np.interp(at, stops, HEAT[:, channel]) for channel in range(3)], axis=-1)


def with_heat_map(crop: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Overlays a heat map of weights [h w], relative to the largest, on a crop uint8 [s s 3]."""
    size = crop.shape[1::-1]
    relative = np.asarray(weights, np.float32) / max(float(np.max(weights)), 1e-9)
    relative = np.clip(cv2.resize(relative, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    cover = (0.15 + 0.6 * np.sqrt(relative))[..., None]
    return (crop * (1 - cover) + heat_colors(relative) * cover + 0.5).astype(np.uint8)


def write_videos(
    paths: Sequence[Path],
    video: Video,
    people: Sequence[Person],
    attentions: Sequence[Attention],
    *,
    num_frames: int,
    progress: Callable = no_progress,
) -> None:
    """Writes one video per person, in one pass over the input video.

    Args:
      paths: of the MP4 files, in the order of people.
      attentions: of the same people in the same order; with `space`, `time` or both.
      num_frames: number of frames of the video that were reconstructed.
      progress: wraps the iterator of frames to show progress.

    Raises:
      UserError: a file cannot be written.
    """
    waiting = sorted(zip(people, attentions, paths), key=lambda entry: -int(entry[0].frames[0]))
    rows = {p.id: {int(frame): row for row, frame in enumerate(p.frames)} for p in people}
    active: list[tuple[Person, Attention, VideoWriter]] = []
    with contextlib.ExitStack() as files:
        closers: dict[int, contextlib.ExitStack] = {}
        for frame in progress(exactly(video.frames(), num_frames), num_frames):
            while waiting and waiting[-1][0].frames[0] <= frame.index:
                person, attention, path = waiting.pop()
                closers[person.id] = files.enter_context(contextlib.ExitStack())
                writer = closers[person.id].enter_context(VideoWriter(path, video.fps))
                active.append((person, attention, writer))
            for person, attention, writer in active:
                row = rows[person.id].get(frame.index)
                if row is not None:
                    image = attention_frame(frame, person, attention, row)
                    writer.write(image, frame.time - float(person.times[0]))
                if person.frames[-1] == frame.index:
                    closers[person.id].close()
            active = [entry for entry in active if entry[0].frames[-1] > frame.index]


def attention_frame(frame: Frame, person: Person, attention: Attention, row: int) -> np.ndarray:
    """Returns one frame of a person's video, uint8 [480 w 3]."""
    width = max(2, round(frame.size[0] * HEIGHT / frame.size[1]))
    left = cv2.resize(
        frame.image(max(width, HEIGHT)), (width, HEIGHT), interpolation=cv2.INTER_AREA
    )
    scale, square = HEIGHT / frame.size[1], person.crops[row]
    square = np.append(rescaled(square[:2], scale), square[2] * scale)
    _draw_square(left, square, color_of(person.id))
    side = HEIGHT - (STRIP if attention.time is not None else 0)
    (crop,) = cut(frame, [person.crops[row]], side)
    if attention.space is not None:
        crop = with_heat_map(crop, attention.space[row, BLOCK])
    right = [crop]
    if attention.time is not None:
        right.append(time_strip(attention, row, (side, STRIP)))
    return np.concatenate([left, np.concatenate(right)], axis=1)


def time_strip(attention: Attention, row: int, size: tuple[int, int]) -> np.ndarray:
    """Draws the weights of a frame's clip as bars, uint8 [h w 3]; size: width, height."""
    width, height = size
    strip = np.full((height, width, 3), PAPER, np.uint8)
    order = np.argsort(attention.clip_frames[row], kind="stable")
    frames = attention.clip_frames[row][order]
    weights = attention.time[row, BLOCK][order].astype(np.float32)
    cell, foot = width / len(order), 20
    label_every = int(np.ceil(30 / cell))
    for i, (number, weight) in enumerate(zip(frames, weights / max(weights.max(), 1e-9))):
        bar = max(2, round((height - foot - 8) * float(weight)))
        low, high = (
            (round(i * cell) + 1, height - foot - bar),
            (round((i + 1) * cell) - 2, height - foot),
        )
        cv2.rectangle(strip, low, high, heat_colors(0.25 + 0.75 * weight).tolist(), -1)
        current = number == attention.frames[row]
        if current or i % label_every == 0:
            text, ink = str(number), INK if current else QUIET
            (text_width, _), _ = cv2.getTextSize(text, FONT, 0.36, 1)
            at = (round((i + 0.5) * cell - text_width / 2), height - 6)
            cv2.putText(strip, text, at, FONT, 0.36, ink, 1, cv2.LINE_AA)
    return strip


def heat_map_crops(
    video: Video,
    people: Sequence[Person],
    attentions: Sequence[Attention],
    rows: Sequence[Sequence[int]],
    *,
    size: int,
) -> list[list[np.ndarray]]:
    """Returns, for each person, the crops [size size 3] of `rows` (ascending) under heat maps.

    Takes one pass over the video; all attentions must have `space`.
    """
    rows_by_frame: dict[int, list[tuple[int, int]]] = {}
    for i, person in enumerate(people):
        for row in rows[i]:
            rows_by_frame.setdefault(int(person.frames[row]), []).append((i, row))
    out: list[list[np.ndarray]] = [[] for _ in people]
    for frame in exactly(video.frames(), max(rows_by_frame) + 1):
        for i, row in rows_by_frame.get(frame.index, ()):
            (crop,) = cut(frame, [people[i].crops[row]], size)
            out[i].append(with_heat_map(crop, attentions[i].space[row, BLOCK]))
    return out


def _draw_square(image: np.ndarray, square: np.ndarray, color: tuple[int, int, int]) -> None:
    x, y, side = np.clip(square, -32000, 32000)
    low, high = (
        (round(x - side / 2), round(y - side / 2)),
        (round(x + side / 2), round(y + side / 2)),
    )
    cv2.rectangle(image, low, high, color, 2, cv2.LINE_AA)
