"""What the model attended to over a whole track, as an image of strips. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.errors import UserError
from maed_jax.files.figures import save_figure
from maed_jax.inference.person_attention import Attention
from maed_jax.visual.attention_video import BLOCK, HEAT

CROPS = 8  # in the top strip
GATE = np.array([[47, 143, 157], [238, 238, 236], [222, 135, 52]])
"""from space over even (pale, like paper) to time, RGB; its ends are the viewer's"""


def crop_rows(attention: Attention) -> list[int]:
    """Returns the rows whose crops the top strip shows, evenly spaced over the track."""
    n = len(attention.frames)
    return sorted({round(x) for x in np.linspace(0, n - 1, min(n, CROPS))})


def write_plot(path: str | Path, attention: Attention, crops: Sequence[np.ndarray] = ()) -> None:
    """Writes a PNG with a strip for each kind of attention in the model, over a track's frames.

    Args:
      attention: of one person.
      crops: uint8 [s s 3] under heat maps, at the rows `crop_rows`; empty: no such strip.

    Raises:
      UserError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            f"plots need matplotlib ({error}): install it with "
            "pip install '.[viz]' in the source folder"
        ) from None
    strips = [
        (crops, 1.3, lambda axes: _draw_crops(axes, crops, attention)),
        (attention.time, 1.5, lambda axes: _draw_time(axes, attention, heat)),
        (attention.gates, 0.5, lambda axes: _draw_gates(axes, attention, gate)),
        (attention.joints, 2.6, lambda axes: _draw_joints(axes, attention, heat)),
    ]
    strips = [strip for strip in strips if strip[0] is not None and len(strip[0])]
    heat, gate = (
        LinearSegmentedColormap.from_list(name, colors / 255)
        for name, colors in (("heat", HEAT), ("gate", GATE))
    )
    with matplotlib.rc_context({"font.size": 8, "axes.titlesize": 9, "axes.titlelocation": "left"}):
        heights = [height for _, height, _ in strips]
        figure = Figure(figsize=(10, sum(heights) + 0.55 * len(heights)), layout="constrained")
        grid = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)
        for axes, (_, _, draw) in zip(grid[:, 0], strips):
            draw(axes)
            axes.spines[:].set_visible(False)
        grid[-1, 0].set_xlabel("frame of the track")
        save_figure(figure, path)


def _draw_crops(axes, crops, attention: Attention) -> None:
    axes.imshow(np.concatenate(list(crops), axis=1))
    side = crops[0].shape[0]
    frames = attention.frames[crop_rows(attention)]
    axes.set_xticks([(i + 0.5) * side for i in range(len(crops))], [f"frame {f}" for f in frames])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.set_title("where it looks")


def _draw_time(axes, attention: Attention, heat) -> None:
    """Plots the weight of each frame of the clip over its distance in time."""
    n, (_, t) = len(attention.frames), attention.clip_frames.shape
    rows = np.repeat(np.arange(n), t)
    away = (attention.clip_frames - attention.frames[:, None]).reshape(-1)
    weights = attention.time[:, BLOCK].astype(np.float32)
    relative = (weights / weights.max(axis=1, keepdims=True)).reshape(-1)
    order = np.argsort(relative)  # largest on top
    side = np.clip(600 / n, 2, 7)  # points; the strip is about 600 wide
    dots = axes.scatter(
        rows[order], away[order], c=relative[order], cmap=heat, s=side**2, marker="s", linewidths=0
    )
    axes.figure.colorbar(dots, ax=axes, label="relative weight", pad=0.01)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylabel("frames away")
    axes.set_title(f"when it looks (block {attention.blocks[BLOCK]})")


def _draw_gates(axes, attention: Attention, gate) -> None:
    gates = attention.gates.astype(np.float32).mean(axis=2).T
    image = axes.imshow(gates, aspect="auto", cmap=gate, vmin=0, vmax=1, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="weight of time", pad=0.01)
    axes.set_yticks(range(len(attention.blocks)), attention.blocks)
    axes.set_ylabel("block")
    axes.set_title("gates: space (0) or time (1)")


def _draw_joints(axes, attention: Attention, heat) -> None:
    """Plots what each joint takes from all its ancestors together."""
    taken = attention.joints.astype(np.float32).sum(axis=2).T
    image = axes.imshow(taken, aspect="auto", cmap=heat, vmin=0, vmax=1, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="fraction", pad=0.01)
    axes.set_yticks(range(len(JOINT_NAMES)), JOINT_NAMES, fontsize=6)
    axes.set_title("how much each joint depends on its ancestors (the rest: on the image)")
