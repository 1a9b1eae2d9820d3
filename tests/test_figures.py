import sys

import cv2
import pytest

from maed_jax.files.figures import DPI, can_plot, save_figure


def test_a_figure_becomes_an_image(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    save_figure(Figure(figsize=(2, 1)), tmp_path / "a.png")
    assert can_plot() and cv2.imread(str(tmp_path / "a.png")).shape == (DPI, 2 * DPI, 3)


def test_without_matplotlib_it_is_said_what_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not can_plot()
    assert "need matplotlib (pip install '.[viz]' in the" in capsys.readouterr().err
