"""Plots of the study's results. Needs matplotlib (extra `viz`); without it, there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maed_jax.ablation.report import DEPTH_ROWS, label_of
from maed_jax.ablation.rows import ROWS
from maed_jax.evaluation import table
from maed_jax.evaluation.protocols import METRICS
from maed_jax.files.figures import can_plot, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(summary: dict, directory: Path) -> list[str]:
    """Writes all plots to `directory` and returns their names; none without matplotlib."""
    if not can_plot():
        return []
    from matplotlib.figure import Figure

    written = []
    for name, plot in PLOTS.items():
        figure = Figure(layout="constrained")  # no pyplot: no windows, no global state
        if plot(figure, summary):
            save_figure(figure, directory / name)
            written.append(name)
        else:
            (directory / name).unlink(missing_ok=True)
    return written


def _series(stats: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and standard deviations; 0 for a single seed, which has none."""
    return (
        np.array([np.nan if s["mean"] is None else s["mean"] for s in stats]),
        np.array([s["sd"] or 0.0 for s in stats]),
    )


def _band(axes: Axes, x: Sequence, stats: list[dict], **style: Any) -> None:
    mean, sd = _series(stats)
    (line,) = axes.plot(x, mean, marker="o", markersize=3, **style)
    axes.fill_between(x, mean - sd, mean + sd, color=line.get_color(), alpha=0.15, linewidth=0)


def _plot_table(figure: Figure, summary: dict) -> bool:
    rows = summary["rows"]
    figure.set_size_inches(10, 1.2 + 0.32 * len(rows))
    panels = figure.subplots(1, 2, sharey=True)
    y = np.arange(len(rows))[::-1]
    for axes, metric in zip(panels, ("pa_mpjpe", "mpjpe")):
        for place, row in zip(y, rows.values()):
            stat = row["subsets"][table.ALL][metric]
            axes.plot(stat["values"], [place] * stat["n"], "o", color="0.7", markersize=4)
            axes.errorbar(
                stat["mean"], place, xerr=stat["sd"] or 0, fmt="s", color="tab:blue", capsize=3
            )
        mean_pose = summary["mean_pose"]["subsets"][table.ALL][metric]
        axes.axvline(mean_pose, color="tab:red", linestyle="--", label="mean pose")
        axes.set_title(f"{METRICS[metric].title}, mannequins, mm")
        axes.grid(axis="x", alpha=0.3)
        axes.set_ylim(-0.6, len(rows) - 0.4)
    panels[0].set_yticks(y, [label_of(name) for name in rows])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return True


def _plot_gates(figure: Figure, summary: dict) -> bool:
    gates = summary["claims"]["gates"]
    if not gates:
        return False
    figure.set_size_inches(1 + 3.4 * len(gates), 3.6)
    panels = figure.subplots(1, len(gates), sharey=True, squeeze=False)[0]
    for axes, (name, found) in zip(panels, gates.items()):
        for block in range(len(found["change"])):
            for key, style, words in (
                ("gate", "-", "the blanked frame"),
                ("gate_others", ":", "other frames"),
            ):
                curve = [blocks[block] for blocks in found[key]]
                _band(
                    axes, found["fractions"], curve, color=f"C{block}", linestyle=style,
                    label=f"block {block + 1}, {words}",
                )  # fmt: skip
        axes.set_title(label_of(name), fontsize=9)
        axes.set_xlabel("blanked fraction of the frame")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("weight of the temporal branch")
    panels[0].legend(fontsize=7)
    return True


def _plot_depth(figure: Figure, summary: dict) -> bool:
    chosen = [name for name in DEPTH_ROWS if name in summary["rows"]]
    if not chosen:
        return False
    figure.set_size_inches(10, 3.8)
    panels = figure.subplots(1, 2)
    titles = {"position_mm": "position, mm", "rotation_deg": "rotation, degrees"}
    for axes, (kind, title) in zip(panels, titles.items()):
        for name in chosen:
            stats = summary["rows"][name]["depth"][kind]
            style = {"color": "tab:blue" if name.endswith("ktd") else "tab:orange"}
            style["linestyle"] = "-" if name.startswith("ste") else "--"
            _band(axes, range(len(stats)), stats, label=label_of(name), **style)
        mean_pose = summary["mean_pose"]["depth"][kind]
        axes.plot(range(len(mean_pose)), mean_pose, ":", color="0.5", label="mean pose")
        axes.set_title(f"error of {title}")
        axes.set_xlabel("depth in SMPL's tree")
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    return True


def _plot_subsets(figure: Figure, summary: dict) -> bool:
    rows, mean_pose = summary["rows"], summary["mean_pose"]["subsets"]
    names = list(mean_pose)
    figure.set_size_inches(11, 4.2)
    axes = figure.subplots()
    width = 0.85 / len(rows)
    for i, (name, row) in enumerate(rows.items()):
        mean, sd = _series([row["subsets"][s]["pa_mpjpe"] for s in names])
        x = np.arange(len(names)) + (i - (len(rows) - 1) / 2) * width
        color = f"C{i % 10}" if i < 10 else ("black", "gold", "navy", "lime")[i % 4]
        axes.errorbar(x, mean, yerr=sd, fmt="o", markersize=4, color=color, label=label_of(name))
    for i, subset in enumerate(names):
        level = mean_pose[subset]["pa_mpjpe"]
        axes.hlines(
            level,
            i - 0.45,
            i + 0.45,
            color="0.5",
            linestyle=":",
            label="mean pose" if not i else None,
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("PA-MPJPE, mm")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    return True


def _plot_blanked(figure: Figure, summary: dict) -> bool:
    figure.set_size_inches(9, 5)
    axes = figure.subplots()
    ends = {}
    for name, row in summary["rows"].items():
        fractions, stats = row["blanked"]["fractions"], row["blanked"]["pa_mpjpe"]
        _band(axes, fractions, stats, color=CONTEXT_COLORS[_context(name)])
        ends[name] = _series(stats)[0][-1]
    low, high = axes.get_ylim()
    for name, y in _spaced(ends, (high - low) / 28).items():
        thread = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.7, "relpos": (0, 0.5)}
        axes.annotate(
            label_of(name), (fractions[-1], ends[name]), (fractions[-1] + 0.07, y), fontsize=8,
            va="center", arrowprops=thread,
        )  # fmt: skip
    for words, color in CONTEXT_COLORS.items():
        axes.plot([], [], color=color, label=words)
    axes.set_xlim(right=fractions[-1] + 0.02)
    axes.set_xlabel("blanked fraction of the frame")
    axes.set_ylabel("PA-MPJPE of that frame, mm")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
    return True


# How an encoder can see other frames than the blanked one, and the colour of its line.
CONTEXT_COLORS = {
    "sees one frame": "tab:red",
    "space and time in parallel": "tab:blue",
    "time after space, or both jointly": "tab:green",
}


def _context(name: str) -> str:
    one_frame, parallel, joint = CONTEXT_COLORS
    row = ROWS[name]
    if row.encoder == "cnn" or row.mode == "vanilla":
        return one_frame
    return parallel if row.encoder == "ste" and row.mode.startswith("parallel") else joint


def _spaced(heights: dict[str, float], gap: float) -> dict[str, float]:
    """Moves labels up until they are at least `gap` apart."""
    placed, last = {}, -np.inf
    for name in sorted(heights, key=heights.get):
        placed[name] = last = max(heights[name], last + gap)
    return placed


PLOTS = {
    "table.png": _plot_table,
    "gates.png": _plot_gates,
    "depth.png": _plot_depth,
    "subsets.png": _plot_subsets,
    "blanked.png": _plot_blanked,
}
