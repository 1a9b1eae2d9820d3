"""End-to-end stages, compared with the network alone on the same clips."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.bench import clock, record
from maed_jax.data.images import normalise
from maed_jax.estimator import Estimator

ALONE, TIMES = "network alone", "times the network"


class Idle:
    """Stands in for an estimator and returns constants at once."""

    def __init__(self, estimator: Estimator):
        self.image_size, self.clip_length = estimator.image_size, estimator.clip_length
        self.margin, self.interval = estimator.margin, estimator.interval

    def __call__(self, clip: Any, *, vertices: bool = False) -> SimpleNamespace:
        b, t = clip.shape[:2]
        return SimpleNamespace(
            camera=np.tile(np.float32([1, 0, 0]), (b, t, 1)),
            pose=np.zeros((b, t, 72), np.float32),
            shape=np.zeros((b, t, 10), np.float32),
            rotmat=np.tile(np.eye(3, dtype=np.float32), (b, t, 24, 1, 1)),
            keypoints_3d=np.zeros((b, t, 49, 3), np.float32),
            keypoints_2d=np.zeros((b, t, 49, 2), np.float32),
        )


def alone(estimator: Estimator, clips: int, batch: int):
    """Returns a case: the network on as many clips as the pass has, in batches of the same size."""
    size = estimator.image_size
    image = np.zeros((batch, estimator.clip_length, size, size, 3), np.uint8)
    image[:] = np.random.default_rng(0).integers(0, 256, image.shape[1:], np.uint8)
    pixels = jnp.asarray(normalise(image))

    def run() -> None:
        for _ in range(-(-clips // batch)):
            jax.block_until_ready(estimator(pixels, vertices=False))

    return run


def measure(cases: dict[str, Any], rounds: int, seconds: Callable[[], float]) -> dict[str, Any]:
    """Returns a row per case, with its ratio to the network alone, and the yardstick's summary."""
    from maed_jax.bench.yardstick import Yardstick

    yard = Yardstick(clock=seconds)
    times = clock.rounds(cases, rounds, yard.read, say=record.say, seconds=seconds)
    rows = []
    for name, measured in times.items():
        row = record.row(name, measured, yard.matmuls())
        pairs = zip(measured.seconds, times[ALONE].seconds)
        rows.append(row | {TIMES: clock.spread(own / one for own, one in pairs)})
    return {"yardstick": yard.summary(), "rows": rows}


def text(result: dict[str, Any]) -> str:
    """Formats a result for printing."""
    lines = [
        [row["name"], record.median_range(row["seconds"]), record.median_range(row[TIMES])]
        for row in result["rows"]
    ]
    titles = ("", "seconds", TIMES)
    return f"{record.table(titles, lines)}\n\n{record.yardstick_lines(result['yardstick'])}"
