"""Plots: what they show, written for the available results, skipped without matplotlib."""

import sys

import cv2
import numpy as np
import pytest
from ablation_results import mean_pose, numbered, result, settings
from drawn import bands, curves, error_bars, words
from test_ablation_report import summary

from maed_jax.ablation import plots
from maed_jax.ablation.measure import FRACTIONS
from maed_jax.ablation.plots import PLOTS, draw
from maed_jax.ablation.report import label_of
from maed_jax.ablation.rows import ROWS
from maed_jax.ablation.summary import summarise


def test_all_plots_are_images(tmp_path):
    pytest.importorskip("matplotlib")
    assert draw(summary(), tmp_path) == list(PLOTS)
    for name in PLOTS:
        image = cv2.imread(str(tmp_path / name))
        assert image.std() > 5 and min(image.shape[:2]) > 200
    assert {path.name for path in tmp_path.iterdir()} == set(PLOTS)


def drawn(name, content):
    """The figure of a plot."""
    figure = pytest.importorskip("matplotlib.figure").Figure(layout="constrained")
    assert PLOTS[name](figure, content)
    figure.draw_without_rendering()
    return figure


def shown(stats):
    """Means, and means less and plus the deviation, of a list of `stat`."""
    mean, sd = (np.array([s[key] for s in stats], float) for key in ("mean", "sd"))
    return mean, mean - sd, mean + sd


def ticks(axis):
    return {
        text.get_text(): place for text, place in zip(axis.get_ticklabels(), axis.get_ticklocs())
    }


def test_the_table():
    content = numbered(summary())
    figure = drawn("table.png", content)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["PA-MPJPE, mannequins, mm", "MPJPE, mannequins, mm"]
    heights = ticks(figure.axes[0].yaxis)
    assert list(heights) == [label_of(name) for name in ROWS]
    assert list(heights.values()) == sorted(heights.values(), reverse=True)  # the first on top
    for axes, metric in zip(figure.axes, ("pa_mpjpe", "mpjpe")):
        for bar, (name, row) in zip(axes.containers, content["rows"].items(), strict=True):
            stat, y = row["subsets"]["all"][metric], heights[label_of(name)]
            (mean,), (low,), (high,) = shown([stat])
            np.testing.assert_allclose(error_bars(bar), [[[low, y], [high, y]]])
            assert (*bar.lines[0].get_xdata(), *bar.lines[0].get_ydata()) == (mean, y)
            seeds = [line for line in axes.get_lines() if list(line.get_xdata()) == stat["values"]]
            assert [set(line.get_ydata()) for line in seeds] == [{y}]
        found = curves(axes)["mean pose"][0]
        assert set(found) == {content["mean_pose"]["subsets"]["all"][metric]}
    assert words(figure.legends[0]) == ["mean pose"]


def test_the_gates():
    content = numbered(summary(("ste-ktd", "ste-vanilla")))
    figure = drawn("gates.png", content)
    gates = content["claims"]["gates"]
    assert [axes.get_title() for axes in figure.axes] == [label_of(name) for name in gates]
    assert figure.axes[0].get_ylabel() == "weight of the temporal branch"
    for axes, found in zip(figure.axes, gates.values(), strict=True):
        assert axes.get_xlabel() == "blanked fraction of the frame"
        lines, edges = curves(axes), iter(bands(axes))
        for block, color in ((0, "C0"), (1, "C1")):
            for key, kind, style in (
                ("gate", "the blanked frame", "-"), ("gate_others", "other frames", ":")
            ):  # fmt: skip
                x, y, *look = lines.pop(f"block {block + 1}, {kind}")
                mean, low, high = shown([blocks[block] for blocks in found[key]])
                assert x == found["fractions"] and look == [color, style]
                np.testing.assert_allclose(y, mean)
                np.testing.assert_allclose(next(edges), [low, high])
        assert not lines
    assert len(words(figure.axes[0].get_legend())) == 4


def test_the_errors_by_depth():
    content = numbered(summary())
    figure = drawn("depth.png", content)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["error of position, mm", "error of rotation, degrees"]
    looks = {
        "ste-iterative": ["tab:orange", "-"], "ste-ktd": ["tab:blue", "-"],
        "cnn-iterative": ["tab:orange", "--"], "cnn-ktd": ["tab:blue", "--"],
    }  # fmt: skip
    for axes, kind in zip(figure.axes, ("position_mm", "rotation_deg")):
        assert axes.get_xlabel() == "depth in SMPL's tree"
        lines, edges = curves(axes), iter(bands(axes))
        for name, look in looks.items():
            x, y, *found = lines.pop(label_of(name))
            mean, low, high = shown(content["rows"][name]["depth"][kind])
            assert x == list(range(len(mean))) and found == look
            np.testing.assert_allclose(y, mean)
            np.testing.assert_allclose(next(edges), [low, high])
        x, y, *_ = lines.pop("mean pose")
        assert (x, y) == (list(range(len(y))), content["mean_pose"]["depth"][kind]) and not lines
    labels = [*map(label_of, looks), "mean pose"]
    assert words(figure.axes[0].get_legend()) == labels


def test_the_subsets():
    content = numbered(summary())
    figure = drawn("subsets.png", content)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "PA-MPJPE, mm"
    places = ticks(axes.xaxis)
    assert list(places) == ["plain", "occlusion", "all"]
    looks = set()
    for bars, (name, row) in zip(axes.containers, content["rows"].items(), strict=True):
        mean, low, high = shown([row["subsets"][subset]["pa_mpjpe"] for subset in places])
        x, y = bars.lines[0].get_data()
        assert bars.get_label() == label_of(name) and list(np.round(x)) == list(places.values())
        np.testing.assert_allclose(y, mean)
        np.testing.assert_allclose(error_bars(bars)[..., 1], np.stack([low, high], -1))
        looks.add((bars.lines[0].get_color(), x[0]))
    assert [len(set(look)) for look in zip(*looks)] == [len(ROWS)] * 2
    lines = [c for c in axes.collections if len(c.get_segments()) == 1 and c not in (
        bars.lines[2][0] for bars in axes.containers)]  # fmt: skip
    for line, (subset, place) in zip(lines, places.items(), strict=True):
        level = content["mean_pose"]["subsets"][subset]["pa_mpjpe"]
        np.testing.assert_allclose(
            line.get_segments()[0], [[place - 0.45, level], [place + 0.45, level]]
        )
    assert sorted(words(figure.legends[0])) == sorted([*map(label_of, ROWS), "mean pose"])


def test_the_blanked_frame():
    content = numbered(summary())
    for row in content["rows"].values():
        row["blanked"]["fractions"] = list(FRACTIONS)
    (axes,) = drawn("blanked.png", content).axes
    assert axes.get_xlabel() == "blanked fraction of the frame"
    assert axes.get_ylabel() == "PA-MPJPE of that frame, mm"
    alone, beside, after = "tab:red", "tab:blue", "tab:green"
    colors = dict.fromkeys(ROWS, beside)
    colors |= dict.fromkeys(("cnn-iterative", "cnn-ktd", "se-iterative"), alone)
    colors |= dict.fromkeys(("te-iterative", "temporal-iterative"), after)
    colors |= dict.fromkeys(("series-iterative", "coupling-iterative"), after)
    ends = {text.get_text(): text.xy for text in axes.texts}
    assert len(ends) == len(axes.texts) == len(ROWS)
    lines = [line for line in axes.get_lines() if len(line.get_xdata())]
    for line, edges, (name, row) in zip(lines, bands(axes), content["rows"].items(), strict=True):
        mean, low, high = shown(row["blanked"]["pa_mpjpe"])
        np.testing.assert_allclose(line.get_data(), [FRACTIONS, mean])
        np.testing.assert_allclose(edges, [low, high])
        assert line.get_color() == colors[name]
        assert ends[label_of(name)] == (FRACTIONS[-1], mean[-1])
    legend = {label: look for label, (_, _, look, _) in curves(axes).items()}
    assert legend == {
        "sees one frame": alone, "space and time in parallel": beside,
        "time after space, or both jointly": after,
    }  # fmt: skip
    assert words(axes.get_legend()) == list(legend)


def test_labels_do_not_overlap_and_keep_their_order():
    placed = plots._spaced({"b": 5.0, "c": 5.5, "a": 1.0, "d": 9.0}, 2.0)
    assert placed == {"a": 1.0, "b": 5.0, "c": 7.0, "d": 9.0}


def test_a_single_seed_has_no_deviation():
    one = summary(("ste-ktd",), (0,))
    mean, sd = plots._series(one["rows"]["ste-ktd"]["depth"]["position_mm"])
    assert (sd == 0).all() and (mean > 0).all()
    assert np.isnan(plots._series([{"mean": None, "sd": None}])[0]).all()
    for name in PLOTS:
        drawn(name, one)


def test_plots_without_anything_to_show_are_taken_away(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "gates.png").write_bytes(b"of an earlier report")
    few = summarise([result("te-iterative", 0)], mean_pose(), settings())
    assert draw(few, tmp_path) == ["table.png", "subsets.png", "blanked.png"]
    assert not (tmp_path / "gates.png").exists()


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw(summary(), tmp_path) == []
