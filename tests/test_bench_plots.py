"""Plots of benchmarks: what they show."""

import numpy as np
import pytest
from drawn import bands, curves, error_bars, words

from maed_jax.bench import plots


@pytest.fixture
def figure(monkeypatch):
    """A function that returns the figure that a function of `plots` would save."""
    new = pytest.importorskip("matplotlib.figure").Figure

    def made(plot, *given):
        found = []

        def save(path, width, height, draw):
            found.append(new(figsize=(width, height), layout="constrained"))
            draw(found[0])
            found[0].draw_without_rendering()

        monkeypatch.setattr(plots, "save", save)
        plot("a.png", *given)
        return found[0]

    return made


def spread(median):
    """Quartiles at other distances below than above."""
    return {"median": median, "low": 0.9 * median, "high": 1.3 * median}


def timed(name, number, **more):
    return {"name": name, "yards": spread(number * 1e12), "operations": number * 0.2e12} | more


def bars_of(axes):
    """Name -> length of its bar, and both ends of its error bar, from top to bottom."""
    bars = axes.containers[-1]
    names = [text.get_text() for text in axes.get_yticklabels()]
    ends = error_bars(bars.errorbar)[..., 0]
    found = {name: (bar.get_width(), *end) for name, bar, end in zip(names, bars, ends)}
    return found if axes.yaxis_inverted() else dict(reversed(found.items()))


def test_bars(figure):
    rows = [{"name": "a", "rate": spread(2.0)}, {"name": "b"}, {"name": "c", "rate": spread(3.0)}]
    (axes,) = figure(plots.plot_bars, rows, "rate", "frames per second", 10.0).axes
    assert axes.get_title() == "frames per second"
    found = bars_of(axes)
    assert list(found) == ["a", "c"]  # from top to bottom
    np.testing.assert_allclose(list(found.values()), [[20, 18, 26], [30, 27, 39]])


def test_a_training_steps_time_and_memory(figure):
    rows = [
        {"name": "plain", "seconds": spread(2.0), "memory": {"all": 3 * 2**30}},
        {"name": "remat", "seconds": spread(4.0), "memory": {}},
    ]
    time, memory = figure(plots.plot_train, rows).axes
    assert (time.get_title(), memory.get_title()) == ("seconds per step", "memory, GiB")
    np.testing.assert_allclose([*bars_of(time).values()], [[2, 1.8, 2.6], [4, 3.6, 5.2]])
    assert [bar.get_width() for bar in memory.containers[0]] == [3, 0]
    assert list(bars_of(time)) == ["plain", "remat"]


def check_line(axes, label, x, numbers):
    """Time is a line with a band, operations are dotted, in one colour."""
    lines = curves(axes)
    (time_x, time, color, _) = lines[f"{label}: time"]
    (asked_x, asked, same, style) = lines[f"{label}: operations"]
    assert time_x == asked_x == x and (same, style) == (color, ":")
    np.testing.assert_allclose(time, numbers)
    np.testing.assert_allclose(asked, 0.2 * np.array(numbers))
    low, high = bands(axes)[[*lines].index(f"{label}: time") // 2]
    np.testing.assert_allclose([low, high], [0.9 * np.array(numbers), 1.3 * np.array(numbers)])
    assert {f"{label}: time", f"{label}: operations"} <= set(words(axes.get_legend()))


def test_what_a_clip_or_batch_costs(figure):
    rows = [
        *(timed("", 2 * n, group="lengths", frames=n) for n in (1, 4)),
        {"name": "too large", "group": "lengths", "frames": 16},
        *(timed("", 3 * n, group="batches", clips=n) for n in (1, 2, 4)),
        *(
            timed("", number * n, group="attention", frames=n, mode=mode)
            for mode, number in (("parallel", 5), ("coupling", 7))
            for n in (2, 8)
        ),
        {"name": "root", "group": "parts", "original share": spread(0.5)},
    ]
    parts, lengths, batches, attention = figure(plots.plot_model, rows).axes
    assert parts.get_title() == "fraction of the machine's matmul rate"
    np.testing.assert_allclose(bars_of(parts)["root"], [0.5, 0.45, 0.65])
    check_line(lengths, "one clip", [1, 4], [2, 8])
    check_line(batches, "one batch", [1, 2, 4], [3, 6, 12])
    check_line(attention, "one block, parallel", [2, 8], [10, 40])
    check_line(attention, "one block, coupling", [2, 8], [14, 56])
    for axes, label in ((lengths, "frames"), (batches, "clips"), (attention, "frames")):
        assert axes.get_xlabel() == f"{label} per {'batch' if label == 'clips' else 'clip'}"
        assert axes.get_ylabel() == "T operations of the machine's matmuls"
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(figure(plots.plot_model, rows[:3]).axes) == 1  # only what was measured


def test_how_training_scales(figure):
    predictions = [
        {"layout": layout, "chip": chip, "chips": 2**n, "efficiency": (worst / 2**n, 0.9 / 2**n)}
        for layout, chip, worst in (
            ("data", "v5e", 0.8), ("data", "h200", 0.7), ("fsdp", "v5e", 0.6),
            ("fsdp", "h200", 0.5),
        )
        for n in range(3)
    ]  # fmt: skip
    panels = figure(plots.plot_scale, predictions).axes
    assert [axes.get_title() for axes in panels] == ["data", "fsdp"]
    assert panels[0].get_ylabel() == "fraction of time computing"
    for axes, worst in zip(panels, ({"v5e": 0.8, "h200": 0.7}, {"v5e": 0.6, "h200": 0.5})):
        assert axes.get_xlabel() == "chips" and axes.get_xscale() == "log"
        assert axes.get_ylim() == (0, 1.05) and words(axes.get_legend()) == list(worst)
        for (chip, value), (low, high) in zip(worst.items(), bands(axes), strict=True):
            x, y, *_ = curves(axes)[chip]
            assert x == [1, 2, 4]
            np.testing.assert_allclose([y, low], [[value, value / 2, value / 4]] * 2)
            np.testing.assert_allclose(high, [0.9, 0.45, 0.225])
