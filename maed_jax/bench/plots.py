"""Plots of benchmark results. Needs matplotlib (extra `viz`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from maed_jax.files.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[dict[str, Any]]


def save(path: str, width: float, height: float, draw: Callable[[Figure], None]) -> None:
    """Writes a figure of the given size, in inches, that `draw` has filled."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")  # no pyplot: no global state
    draw(figure)
    save_figure(figure, path)
    print(f"wrote {path}")


def bars(axes: Axes, rows: Rows, key: str, title: str, times: float = 1.0) -> None:
    """Draws a bar for each row that has `key`: median and interquartile range over rounds."""
    rows = [row for row in rows if key in row]
    medians = [times * row[key]["median"] for row in rows]
    errors = [
        [times * (row[key]["median"] - row[key]["low"]) for row in rows],
        [times * (row[key]["high"] - row[key]["median"]) for row in rows],
    ]
    axes.barh([row["name"] for row in rows], medians, xerr=errors, color="#5a7fb0", ecolor="#333")
    axes.invert_yaxis()
    axes.set_title(title)


def line(axes: Axes, rows: Rows, x: str, label: str) -> None:
    """Draws the time and the operations of rows over their values of `x`.

    Time is in operations of the machine's own matmuls, so that slow hours do not show. Median and
    interquartile range over rounds.
    """
    rows = [row for row in rows if "yards" in row]
    places = [row[x] for row in rows]
    values = [[row["yards"][part] / 1e12 for row in rows] for part in ("median", "low", "high")]
    (curve,) = axes.plot(places, values[0], marker="o", markersize=3, label=f"{label}: time")
    colour = curve.get_color()
    axes.fill_between(places, *values[1:], color=colour, alpha=0.2, linewidth=0)
    operations = [row["operations"] / 1e12 for row in rows]
    axes.plot(places, operations, color=colour, linestyle=":", label=f"{label}: operations")


def plot_model(path: str, rows: Rows) -> None:
    """Plots the measured groups: parts, and cost by clip length, batch and kind of attention."""
    groups = {name: [r for r in rows if r["group"] == name] for name in PANELS}
    shown = {name: own for name, own in groups.items() if own}

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (name, own) in zip(panels, shown.items()):
            PANELS[name](axes, own)

    save(path, 5 * len(shown), 4, draw)


def _parts(axes: Axes, rows: Rows) -> None:
    bars(axes, rows, "original share", "fraction of the machine's matmul rate")


def _lengths(axes: Axes, rows: Rows) -> None:
    line(axes, rows, "frames", "one clip")
    _loglog(axes, "frames per clip")


def _batches(axes: Axes, rows: Rows) -> None:
    line(axes, rows, "clips", "one batch")
    _loglog(axes, "clips per batch")


def _attention(axes: Axes, rows: Rows) -> None:
    for mode in dict.fromkeys(row["mode"] for row in rows):
        line(axes, [row for row in rows if row["mode"] == mode], "frames", f"one block, {mode}")
    _loglog(axes, "frames per clip")


def _loglog(axes: Axes, x: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(x)
    axes.set_ylabel("T operations of the machine's matmuls")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


PANELS = {"parts": _parts, "lengths": _lengths, "batches": _batches, "attention": _attention}


def plot_train(path: str, rows: Rows) -> None:
    """Plots time and memory with and without `remat`."""

    def draw(figure: Figure) -> None:
        time, memory = figure.subplots(1, 2, sharey=True)
        bars(time, rows, "seconds", "seconds per step")
        sizes = [row["memory"].get("all", 0) / 2**30 for row in rows]
        memory.barh([row["name"] for row in rows], sizes, color="#b07f5a")
        memory.set_title("memory, GiB")

    save(path, 9, 1.5 + 0.4 * len(rows), draw)


def plot_bars(path: str, rows: Rows, key: str, title: str, times: float = 1.0) -> None:
    """Plots one bar per row."""
    save(
        path,
        7,
        1.2 + 0.35 * len(rows),
        lambda figure: bars(figure.subplots(), rows, key, title, times),
    )


def plot_scale(path: str, predictions: Rows) -> None:
    """Plots worst and best efficiency against the number of chips."""

    def draw(figure: Figure) -> None:
        layouts = list(dict.fromkeys(row["layout"] for row in predictions))
        panels = figure.subplots(1, len(layouts), sharey=True, squeeze=False)[0]
        for axes, layout in zip(panels, layouts):
            for chip in dict.fromkeys(row["chip"] for row in predictions):
                own = [r for r in predictions if (r["layout"], r["chip"]) == (layout, chip)]
                counts = [row["chips"] for row in own]
                worst, best = zip(*(row["efficiency"] for row in own))
                (curve,) = axes.plot(counts, worst, marker="o", markersize=3, label=chip)
                axes.fill_between(counts, worst, best, color=curve.get_color(), alpha=0.15)
            axes.set_xscale("log", base=2)
            axes.set_ylim(0, 1.05)
            axes.set_xlabel("chips")
            axes.set_title(layout)
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small")
        panels[0].set_ylabel("fraction of time computing")

    save(path, 10, 4, draw)
