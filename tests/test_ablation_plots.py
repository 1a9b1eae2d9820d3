"""Plots: written for the available results, skipped without matplotlib."""

import sys

import cv2
import pytest
from ablation_results import mean_pose, result, settings
from test_ablation_report import summary

from maed_jax.ablation.plots import PLOTS, draw
from maed_jax.ablation.summary import summarise


def test_all_plots_are_images(tmp_path):
    pytest.importorskip("matplotlib")
    assert draw(summary(), tmp_path) == list(PLOTS)
    for name in PLOTS:
        image = cv2.imread(str(tmp_path / name))
        assert image.std() > 5 and min(image.shape[:2]) > 200
    assert {path.name for path in tmp_path.iterdir()} == set(PLOTS)


def test_plots_without_anything_to_show_are_taken_away(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "gates.png").write_bytes(b"of an earlier report")
    few = summarise([result("te-iterative", 0)], mean_pose(), settings())
    assert draw(few, tmp_path) == ["table.png", "subsets.png", "blanked.png"]
    assert not (tmp_path / "gates.png").exists()


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw(summary(), tmp_path) == []
