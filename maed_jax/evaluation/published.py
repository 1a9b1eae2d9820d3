"""The paper's Table 1, as printed.

Source: Wan et al., "Encoder-decoder with Multi-level Attention for 3D Human Shape and Pose
Estimation", ICCV 2021. Each system was evaluated with its authors' own code, so figures of
different systems may follow different protocols.
"""

from __future__ import annotations

from typing import NamedTuple

COLUMNS = {
    "3dpw": ("pa_mpjpe", "mpjpe", "pve", "accel"),
    "mpi_inf_3dhp": ("pa_mpjpe", "mpjpe"),
    "h36m": ("pa_mpjpe", "mpjpe"),
}
TITLES = {"3dpw": "3DPW", "mpi_inf_3dhp": "MPI-INF-3DHP", "h36m": "Human3.6M"}
_ = None  # not reported


class System(NamedTuple):
    """A row: figures in mm (ACCEL: mm per frame^2), in the order of `COLUMNS`."""

    name: str
    training: str
    """with or without 3DPW's training split"""
    input: str
    figures: tuple[float | None, ...]


TABLE_1 = (
    System("HMR", "w/o 3DPW", "image", (81.3, 130.0, _, 37.4, 89.8, 124.2, 56.8, 88.0)),
    System("GraphCMR", "w/o 3DPW", "image", (70.2, _, _, _, _, _, 50.1, _)),
    System("STRAPS", "w/ 3DPW", "image", (66.8, _, _, _, _, _, 55.4, _)),
    System("ExPose", "w/o 3DPW", "image", (60.7, 93.4, _, _, _, _, _, _)),
    System("SPIN", "w/o 3DPW", "image", (59.2, 96.9, 116.4, 29.8, 67.5, 105.2, 41.1, _)),
    System("I2LMeshNet", "w/o 3DPW", "image", (57.7, 93.2, _, _, _, _, 41.1, 55.7)),
    System("Pose2Mesh", "w/o 3DPW", "2D pose", (58.3, 88.9, _, _, _, _, 46.3, 64.9)),
    System("TemporalContext", "w/o 3DPW", "video", (72.2, _, _, _, _, _, 54.3, 77.8)),
    System("DSD-SATN", "w/o 3DPW", "video", (69.5, _, _, _, _, _, 42.4, 59.1)),
    System("MEVA", "w/ 3DPW", "video", (54.7, 86.9, _, 11.6, 65.4, 96.4, 53.2, 76.0)),
    System("VIBE", "w/o 3DPW", "video", (56.5, 93.5, 113.4, 27.1, 63.4, 97.7, 41.5, 65.9)),
    System("VIBE", "w/ 3DPW", "video", (51.9, 82.9, 99.1, 23.4, 64.6, 96.6, 41.4, 65.6)),
    System("MAED, paper", "w/o 3DPW", "video", (50.7, 88.8, 104.5, 18.0, 56.5, 85.1, 38.7, 56.3)),
    System("MAED, paper", "w/ 3DPW", "video", (45.7, 79.1, 92.6, 17.6, 56.2, 83.6, 38.7, 56.4)),
)
