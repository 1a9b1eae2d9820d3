"""How long a training step takes on many chips: a model by published rates of chips and links.

Operations and bytes come from the compiled program; rates are the makers' own, but for the share of
its peak at which a chip computes (`Chip.reached`). What the model leaves out: latency (a step has
few collectives, each of megabytes), congestion, stragglers, and reading data, for which
`input_rate` says what is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of chip and what joins many of them. Rates are for one direction, per chip."""

    name: str
    peak: float
    """bfloat16 operations a second, dense"""
    memory: float
    """bytes"""
    near: int
    """how many chips the fast links join"""
    near_rate: float
    """bytes a second that a chip sends over all of its fast links together"""
    far_rate: float
    """bytes a second that a chip sends beyond them"""
    reached: float
    """share of the peak at which a step is taken to compute, by what our program asks for"""
    source: str


CHIPS = {
    "h200": Chip(
        "NVIDIA H200 SXM", 989e12, 141e9, 8, 450e9, 50e9, 0.25,
        "NVIDIA's H200 data sheet: 989 TFLOPS of dense bfloat16, 141 GB, NVLink 900 GB/s both "
        "ways; DGX H200 data sheet: eight of them, one ConnectX-7 port of 400 Gb/s each; of the "
        "peak: measured on one, docs/performance.md",
    ),
    "v5e": Chip(
        "TPU v5e", 197e12, 16e9, 256, 200e9, 3.125e9, 0.35,
        "cloud.google.com/tpu/docs/v5e: 197 TFLOPS, 16 GB, 400 GB/s between chips both ways, pods "
        "of 256 chips, 6.4 Tb/s from a pod to the data centre's network; of the peak: what "
        "the memory's 819 GB/s allow the program compiled for it",
    ),
    "v5p": Chip(
        "TPU v5p", 459e12, 95e9, 8960, 600e9, 6.25e9, 0.4,
        "cloud.google.com/tpu/docs/v5p: 459 TFLOPS, 95 GB, 1200 GB/s between chips both ways, pods "
        "of 8960 chips, 50 Gb/s for a chip to the data centre's network; of the peak: a guess",
    ),
}  # fmt: skip


def seconds_sending(kind: str, payload: float, n: int, chip: Chip) -> float:
    """A collective over `n` chips: over fast links within groups of `chip.near`, far ones between.

    Near ones gather (or scatter) whole, far ones only the part that a chip is left with: an
    all-reduce scatters near, reduces far, and gathers near. All links of a chip are in use.
    """
    if n == 1:
        return 0.0
    near = min(n, chip.near)
    far = n / near
    if kind == "collective-permute":
        return payload / (chip.near_rate if far == 1 else chip.far_rate)
    once = payload * (near - 1) / near / chip.near_rate
    once += payload / near * (far - 1) / far / chip.far_rate
    return (2 if kind == "all-reduce" else 1) * once


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step on `n` chips."""

    n: int
    computing: float
    """seconds"""
    sending: float
    """seconds, alone"""

    @property
    def slowest(self) -> float:
        """Seconds of a step that sends and computes in turn."""
        return self.computing + self.sending

    @property
    def fastest(self) -> float:
        """Seconds of a step that sends while it computes the gradient, two thirds of its work."""
        return self.computing + max(0.0, self.sending - 2 / 3 * self.computing)

    @property
    def efficiency(self) -> tuple[float, float]:
        """The share of a step in which chips compute, at worst and at best."""
        return self.computing / self.slowest, self.computing / self.fastest


def predict(chip: Chip, n: int, operations: float, payloads: Mapping[str, float]) -> Prediction:
    """A step on `n` chips.

    Args:
      operations: of each chip.
      payloads: bytes by kind of collective, over all `n` chips; they depend on the parameters and
        not on how many chips there are.
    """
    sending = sum(seconds_sending(kind, payload, n, chip) for kind, payload in payloads.items())
    return Prediction(n, operations / (chip.reached * chip.peak), sending)


def input_rate(
    step: Prediction, clips_per_chip: int, frames: int, image_size: int, stored: float, core: float
) -> dict[str, float]:
    """What a step of `n` chips must be fed with, if it runs as fast as it can.

    Args:
      stored: bytes of a stored frame.
      core: frames a second that one core reads and augments.
    """
    rate = step.n * clips_per_chip * frames / step.fastest
    return {
        "frames/s": rate,
        "stored bytes/s": rate * stored,
        "bytes/s to chips": rate * 3 * image_size**2,
        "cores": rate / core,
        "cores per chip": rate / core / step.n,
    }
