"""Plots errors over time and the worst frames. Needs matplotlib (extra `viz`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maed_jax.evaluation.protocol_run import Result
from maed_jax.evaluation.scoring import Scores
from maed_jax.files.figures import save_figure

PANELS = 12  # per figure
SPACING = 30  # minimum distance of two worst frames of one track, in frames
PREDICTED, TRUE = "#d1495b", "#2e7d6b"
# Between the joints that all sets share: legs, arms, shoulders to neck, hips to neck.
BONES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11),
    (8, 12), (9, 12), (2, 12), (3, 12),
)  # fmt: skip


def draw_errors(scores: Scores, file: Path) -> None:
    """Plots MPJPE and PA-MPJPE of each frame of the worst sequences."""
    tracks = [t for t in scores.tracks if np.isfinite(t.errors["mpjpe"]).any()]
    shown = sorted(tracks, key=lambda t: -np.nanmean(t.errors["mpjpe"]))[:PANELS]
    figure = Figure(figsize=(12, 1 + 1.5 * -(-len(shown) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(shown) // 2), 2, sharey=True, squeeze=False).ravel()
    for panel, track in zip(axes, shown):
        for name, title in (("mpjpe", "MPJPE"), ("pa_mpjpe", "PA-MPJPE")):
            panel.plot(track.labels.frame, track.errors[name], linewidth=0.8, label=title)
        panel.set_title(track.name, fontsize=8, loc="left")
        panel.tick_params(labelsize=7)
        panel.set_xlabel("frame of the video", fontsize=7)
    for panel in axes[::2]:
        panel.set_ylabel("error, mm", fontsize=7)
    for panel in axes[len(shown) :]:
        panel.axis("off")
    axes[0].legend(fontsize=7)
    which = "" if len(shown) == len(tracks) else f", the {len(shown)} worst of {len(tracks)}"
    figure.suptitle(f"{scores.protocol.label}: errors over time{which}", fontsize=10)
    save_figure(figure, file)


def draw_worst(result: Result, file: Path) -> None:
    """Draws the frames with the highest MPJPE: the crop, and joints from the front and the side."""
    shown = worst_frames(result.scores)
    per_row = min(2, len(shown))
    rows = -(-len(shown) // per_row)
    figure = Figure(figsize=(6 * per_row, 0.4 + 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, 3 * per_row, squeeze=False).reshape(-1, 3)
    for (crop, front, side), (number, frame) in zip(panels, shown):
        track = result.scores.tracks[number]
        crop.imshow(result.clips.crop(number, frame))
        crop.set_title(
            f"{track.name}, {track.labels.frame[frame]}: {track.errors['mpjpe'][frame]:.0f} mm",
            fontsize=8,
            loc="left",
        )
        for axes, across in ((front, 0), (side, 2)):
            for joints, color in (
                (track.target_joints[frame], TRUE),
                (track.joints[frame], PREDICTED),
            ):
                for bone in BONES:  # a joint without a label is NaN and draws nothing
                    axes.plot(*joints[list(bone)][:, [across, 1]].T, color=color, linewidth=1.5)
            axes.set_aspect("equal")
            axes.invert_yaxis()  # y points down
    for axes in panels.ravel():
        axes.axis("off")
    figure.suptitle(
        f"{result.scores.protocol.label}: worst frames; joints from the front and the side, "
        "predicted in red, ground truth in green",
        fontsize=10,
    )
    save_figure(figure, file)


def worst_frames(scores: Scores) -> list[tuple[int, int]]:
    """Returns the `PANELS` worst (track, frame) pairs, at least `SPACING` apart within a track."""
    errors = [track.errors["mpjpe"] for track in scores.tracks]
    where = [(i, f) for i, track in enumerate(errors) for f in np.flatnonzero(np.isfinite(track))]
    where.sort(key=lambda place: -errors[place[0]][place[1]])
    chosen: list[tuple[int, int]] = []
    for track, frame in where:
        if all(track != t or abs(frame - f) >= SPACING for t, f in chosen):
            chosen.append((track, int(frame)))
        if len(chosen) == PANELS:
            break
    return chosen
