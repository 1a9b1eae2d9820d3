"""LSP-Extended, in both resolutions, becomes records."""

import json

import numpy as np
import pytest
import raw_dots
import raw_stills
import scipy.io

from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.errors import UserError


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "lspet", tmp_path / "data", overwrite=True)


@pytest.mark.parametrize("high", [False, True])
def test_joints_lie_where_the_image_shows_them(build, tmp_path, high):
    raw = raw_stills.write_lspet(tmp_path / "raw", high)
    first, second = raw_dots.read_back(build(raw), "train")
    raw_dots.check_dots(first, 8, tolerance=1.5)
    assert (first["track"], second["track"]) == ("im00001", "im00003" if high else "im00002")
    names = [KEYPOINT_NAMES[i] for i in np.flatnonzero(first["keypoints_2d"][:, 2])]
    assert names == list(raw_stills.LSP_ORDER)
    assert not second["keypoints_2d"][KEYPOINT_NAMES.index("lwrist")].any(), "hidden"
    width, height = second["box"][2:]
    assert height > width > 0, "the box does not include a hidden joint far away"


def test_fits_go_by_the_name_in_both_resolutions(build, tmp_path):
    raw = raw_stills.write_lspet(tmp_path / "raw", high=True)
    fit = raw_stills.eft("im00003.png", 2, raw_stills.person(10))
    path = raw_stills.write_eft(tmp_path / "LSPet_ver01.json", [fit])
    first, second = raw_dots.read_back(build(raw, eft=[path]), "train")
    assert second["has_smpl"] and not first["has_smpl"]
    raw = raw_stills.write_lspet(tmp_path / "low")
    fit = raw_stills.eft("im00002.png", 2)
    raw_stills.write_eft(path, [fit])
    _, second = raw_dots.read_back(build(raw, eft=[path]), "train")
    np.testing.assert_allclose(second["pose"], raw_stills.pose(2), atol=1e-5)


def test_frames_of_png_become_jpeg(build, tmp_path):
    raw = raw_stills.write_lspet(tmp_path / "raw", high=True)
    for record in raw_dots.read_back(build(raw, "frames"), "train"):
        assert record["image"][:2] == b"\xff\xd8"
        assert tuple(record["image_size"]) == (240, 320)


def test_a_missing_image_is_counted(build, tmp_path):
    raw = raw_stills.write_lspet(tmp_path / "raw")
    (raw / "images/im00001.jpg").unlink()
    folder = build(raw)
    assert [r["track"] for r in raw_dots.read_back(folder, "train")] == ["im00002"]
    report = json.loads((folder / "report.json").read_text())["train"]
    assert report["dropped"] == {"missing image": 1}


def test_archives_that_do_not_belong_together(build, tmp_path):
    raw = raw_stills.write_lspet(tmp_path / "raw", high=True)
    (raw / "im00003.png").unlink()
    with pytest.raises(UserError, match="joints of 2 images, but there are 1"):
        build(raw)
    (raw / "im00001.png").unlink()
    with pytest.raises(UserError, match="has no images"):
        build(raw)
    scipy.io.savemat(raw / "joints.mat", {"joints": np.zeros((3, 14, 5))})
    with pytest.raises(UserError, match="that is LSP's"):
        build(raw)
    scipy.io.savemat(raw / "joints.mat", {"other": 1})
    with pytest.raises(UserError, match="lacks the variable joints"):
        build(raw)
    (raw / "joints.mat").unlink()
    with pytest.raises(UserError, match="joints.mat does not exist"):
        build(raw)
