"""Predicts how long a training step takes on many chips from published rates of chips and links.

Operations and bytes come from the compiled program; rates are the makers' own, except for the
fraction of its peak at which a chip computes (`Chip.reached`). The model leaves out latency (a step
has few collectives, each of megabytes), congestion, stragglers, and reading data, for which
`input_rate` computes what is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of chip and its links. Rates are for one direction, per chip."""

    name: str
    peak: float
    """bfloat16 operations per second, dense"""
    memory: float
    """bytes"""
    near: int
    """number of chips that the fast links connect"""
    near_rate: float
    """bytes per second that a chip sends over all of its fast links together"""
    far_rate: float
    """bytes per second that a chip sends beyond them"""
    reached: float
    """assumed fraction of the peak, counting the operations of our program"""
    source: str


CHIPS = {
    "h200": Chip(
        "NVIDIA H200 SXM", 989e12, 141e9, 8, 450e9, 50e9, 0.25,
        "NVIDIA's H200 data sheet: 989 TFLOPS of dense bfloat16, 141 GB, NVLink 900 GB/s both "
        "ways; DGX H200 data sheet: eight of them, one ConnectX-7 port of 400 Gb/s each; fraction "
        "of the peak: measured on one, docs/performance.md",
    ),
    "v5e": Chip(
        "TPU v5e", 197e12, 16e9, 256, 200e9, 3.125e9, 0.35,
        "cloud.google.com/tpu/docs/v5e: 197 TFLOPS, 16 GB, 400 GB/s between chips both ways, pods "
        "of 256 chips, 6.4 Tb/s from a pod to the data centre's network; fraction of the peak: "
        "what the memory's 819 GB/s allow the program compiled for it",
    ),
    "v5p": Chip(
        "TPU v5p", 459e12, 95e9, 8960, 600e9, 6.25e9, 0.4,
        "cloud.google.com/tpu/docs/v5p: 459 TFLOPS, 95 GB, 1200 GB/s between chips both ways, pods "
        "of 8960 chips, 50 Gb/s per chip to the data centre's network; fraction of the peak: a "
        "guess",
    ),
}  # fmt: skip


def seconds_sending(kind: str, payload: float, n: int, chip: Chip) -> float:
    """Returns the seconds of a collective over `n` chips, in groups of `chip.near` on fast links.

    Fast links gather (or scatter) the whole array, slow ones only the part that each chip then
    holds: an all-reduce scatters near, reduces far, and gathers near. All links of a chip are used.
    """
    if n == 1:
        return 0.0
    near = min(n, chip.near)
    far = n / near
    if kind == "collective-permute":
        return payload / (chip.near_rate if far == 1 else chip.far_rate)
    seconds = payload * (near - 1) / near / chip.near_rate
    seconds += payload / near * (far - 1) / far / chip.far_rate
    return (2 if kind == "all-reduce" else 1) * seconds


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The predicted times of a step on `n` chips."""

    n: int
    computing: float
    """seconds"""
    sending: float
    """seconds, without overlap"""

    @property
    def slowest(self) -> float:
        """Seconds of a step that computes first and then sends."""
        return self.computing + self.sending

    @property
    def fastest(self) -> float:
        """Seconds of a step that sends while it computes the gradient, two thirds of its work."""
        return self.computing + max(0.0, self.sending - 2 / 3 * self.computing)

    @property
    def efficiency(self) -> tuple[float, float]:
        """Fraction of a step in which chips compute, at worst and at best."""
        return self.computing / self.slowest, self.computing / self.fastest


def predict(chip: Chip, n: int, operations: float, payloads: Mapping[str, float]) -> Prediction:
    """Predicts a step on `n` chips.

    Args:
      operations: per chip.
      payloads: bytes by kind of collective, over all `n` chips; they depend on the parameters, not
        on the number of chips.
    """
    sending = sum(seconds_sending(kind, payload, n, chip) for kind, payload in payloads.items())
    return Prediction(n, operations / (chip.reached * chip.peak), sending)


def input_rate(
    step: Prediction, clips_per_chip: int, frames: int, image_size: int, stored: float, core: float
) -> dict[str, float]:
    """Returns the data rates that a step on `n` chips needs at its best speed.

    Args:
      stored: bytes of a stored frame.
      core: frames per second that one core reads and augments.
    """
    rate = step.n * clips_per_chip * frames / step.fastest
    return {
        "frames/s": rate,
        "stored bytes/s": rate * stored,
        "bytes/s to chips": rate * 3 * image_size**2,
        "cores": rate / core,
        "cores per chip": rate / core / step.n,
    }
