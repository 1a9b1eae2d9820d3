"""COCO's keypoints and the fits of EFT become records."""

import json

import numpy as np
import pytest
import raw_dots
import raw_stills

from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.errors import UserError


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "coco", tmp_path / "data")


@pytest.fixture
def raw(tmp_path):
    return raw_stills.write_coco(tmp_path / "raw")


@pytest.mark.parametrize("config", ["crops", "frames"])
def test_keypoints_lie_where_the_image_shows_them(build, raw, config):
    folder = build(raw, config)
    records = raw_dots.read_back(folder, "train")
    assert [r["track"] for r in records] == [
        "COCO_train2014_000000000001/11",
        "COCO_train2014_000000000002/14",
    ]
    for record in records + raw_dots.read_back(folder, "validation"):
        raw_dots.check_dots(record, 8)
        assert record["keypoints_2d"][:25, 2].max() == 0, "COCO's joints are of the second set"
        assert record["keypoints_2d"][KEYPOINT_NAMES.index("nose"), 2] == 1
        assert record["keypoints_2d"][KEYPOINT_NAMES.index("leye"), 2] == 0, "not labelled"
        assert not record["has_smpl"] and not record["has_3d"] and record["frame"] == 0
        assert (record["body"], record["gender"], record["source"]) == ("smpl", "neutral", "coco")
    report = json.loads((folder / "report.json").read_text())
    assert report["train"]["dropped"] == {"crowd": 1, "too few keypoints": 1}
    assert report["validation"]["people"] == 1
    if config == "frames":
        file = raw / "train2014/COCO_train2014_000000000002.jpg"
        assert records[1]["image"] == file.read_bytes()
        assert records[1]["box"][2] - 12 == pytest.approx(0.5 * 110, abs=1)


def test_fits_go_to_their_annotation(build, raw, tmp_path, capsys):
    name = "COCO_train2014_000000000001.jpg"
    fits = [
        raw_stills.eft(name, 5, annotation=12),  # for someone who is left out
        raw_stills.eft(name, 6, annotation=11),
        raw_stills.eft(name, 7, annotation=99),  # for no one
    ]
    path = raw_stills.write_eft(tmp_path / "eft.json", fits)
    folder = build(raw, eft=[path], partial=True)
    first, second = raw_dots.read_back(folder, "train")
    assert first["has_smpl"] and not second["has_smpl"]
    np.testing.assert_allclose(first["pose"], raw_stills.pose(6), atol=1e-5)
    np.testing.assert_allclose(first["shape"], 0.6, atol=1e-6)
    assert "2 of 3 SMPL fits matched a person" in capsys.readouterr().err
    assert json.loads((folder / "report.json").read_text())["train"]["with_smpl"] == 1


def test_rows_of_spin_find_their_person_and_others_can_be_left_out(build, raw, tmp_path):
    name = raw_stills.coco_name("train2014", 2)
    far = {joint: (x + 60, y) for joint, (x, y) in raw_stills.person(70, 26, 110).items()}
    rows = [(name, far, 3), (name, raw_stills.person(70, 26, 110), 4)]
    rows += [(raw_stills.coco_name("val2014", 3), raw_stills.person(90), 5)]
    spin, spin_fits = raw_stills.write_spin(tmp_path, rows)
    folder = build(raw, spin=spin, spin_fits=spin_fits, labelled_only=True)
    (record,) = raw_dots.read_back(folder, "train")
    assert record["track"].endswith("2/14")
    np.testing.assert_allclose(record["pose"], raw_stills.pose(4), atol=1e-5)
    report = json.loads((folder / "report.json").read_text())["train"]
    assert report["dropped"]["no SMPL fit"] == 1
    with pytest.raises(UserError, match="do not say whose"):
        build(raw, spin=spin_fits, overwrite=True)


def test_one_split_will_do_if_asked_for(build, raw):
    for path in raw.glob("val2014/*"):
        path.unlink()
    (raw / "val2014").rmdir()
    with pytest.raises(UserError, match="lacks val2014; --partial"):
        build(raw)
    folder = build(raw, partial=True)
    assert len(raw_dots.read_back(folder, "train")) == 2
    with pytest.raises(UserError, match="person_keypoints_train2014.json"):
        build(raw.parent, partial=True, overwrite=True)


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("keypoints", [1, 2, 2], r"annotation 11: keypoints is not \[51\] numbers"),
        ("keypoints", None, "annotation 11: keypoints"),
        ("bbox", [1, 2, 3], r"annotation 11: bbox is not \[4\] numbers"),
        ("image_id", 77, "lacks 77"),
    ],
)
def test_wrong_annotations_are_named(build, raw, field, value, words):
    path = raw / "annotations/person_keypoints_train2014.json"
    content = json.loads(path.read_text())
    content["annotations"][-1][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words) as error:
        build(raw)
    assert str(path) in str(error.value)
    assert not (raw.parent / "data/coco").exists()


def test_other_files_of_coco_are_told_apart(build, raw):
    path = raw / "annotations/person_keypoints_train2014.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"categories": [{"id": 1, "name": "person"}]}))
    with pytest.raises(UserError, match="not one of COCO's person keypoint files.*keypoints"):
        build(raw)
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        build(raw)


def test_a_nan_in_a_keypoint_costs_the_keypoint(build, raw):
    path = raw / "annotations/person_keypoints_train2014.json"
    content = json.loads(path.read_text())
    content["annotations"][-1]["keypoints"][0] = float("nan")
    path.write_text(json.dumps(content))
    folder = build(raw)
    record = raw_dots.read_back(folder, "train")[0]
    assert not record["keypoints_2d"][KEYPOINT_NAMES.index("nose")].any()
    report = json.loads((folder / "report.json").read_text())["train"]
    assert report["mended"] == {"2D keypoint is not a number": 1}
