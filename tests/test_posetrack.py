import json

import numpy as np
import pytest
import raw_dots
import raw_posetrack

from maed_jax.data import schema
from maed_jax.errors import UserError

VIDEO = "000001_bonn_train"


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "posetrack", tmp_path / "data")


@pytest.fixture
def raw(tmp_path):
    return raw_posetrack.write(tmp_path / "posetrack")


@pytest.fixture
def content(raw):
    path = raw / f"posetrack_data/annotations/train/{VIDEO}.json"
    return json.loads(path.read_text())


def report(folder):
    return json.loads((folder / "report.json").read_text())["train"]


@pytest.mark.parametrize("config", ["crops", "frames"])
def test_labels_are_where_the_images_show_them(raw, build, config):
    folder = build(raw, config)
    for split, name in (("train", VIDEO), ("validation", "000342_mpii_test")):
        records = raw_dots.read_back(folder, split)
        assert [record["frame"] for record in records] == list(range(1, 11))
        for record in records:
            raw_dots.check_dots(record, 8)
            # limbs, neck, top of the head and nose; never ears
            confidence = record["keypoints_2d"][:, 2]
            assert np.flatnonzero(confidence).tolist() == [*range(25, 39), 44]
        assert [(t.name, t.length) for t in schema.read_tracks(folder, split)] == [
            (f"{name}_3", 10)
        ]
    assert not report(folder)["dropped"]


def test_the_box_is_the_owners_without_its_margin(raw, build, content):
    record = raw_dots.read_back(build(raw, "frames"), "train")[0]
    x, y, width, height = content["annotations"][0]["bbox"]
    expected = [x + width / 2, y + height / 2, 0.8 * height, 0.8 * height]
    np.testing.assert_allclose(record["box"], expected, rtol=1e-5)


def test_what_is_left_out_is_counted(raw, build, content):
    first, second, third, *_ = content["annotations"]
    points = np.reshape(first["keypoints"], (17, 3))
    first["keypoints"] = [0] * 51
    second["bbox"][2] = 0
    points[9, 0] = np.nan
    third["keypoints"] = points.ravel().tolist()
    content["images"][-2]["is_labeled"] = False
    again = content["annotations"][3]
    content["annotations"] += [again, again | {"track_id": 4}, {**again}, {**again}]
    del content["annotations"][-1]["bbox"], content["annotations"][-2]["keypoints"]
    raw_posetrack.save(raw, "train", VIDEO, content)
    (raw / f"images/train/{VIDEO}/000006.jpg").unlink()
    found = report(build(raw, min_frames=7))
    assert found["dropped"] == {
        "frame not labelled by the owner": 1, "missing image": 1, "no box": 2,
        "no visible keypoints": 2, "track of fewer than 7 frames": 1, "twice in one frame": 1,
    }  # fmt: skip
    assert found["mended"] == {"2D keypoint is not a number": 1}
    assert (found["tracks"], found["people"]) == (1, 6)


def test_short_tracks_and_the_damaged_file(raw, build, content):
    damaged = "021133_mpii_train"
    raw_posetrack.save(raw, "train", damaged, raw_posetrack.video(raw, "train", damaged))
    short = "000002_mpii_train"
    raw_posetrack.save(raw, "train", short, raw_posetrack.video(raw, "train", short, frames=7))
    found = report(build(raw))
    assert found["dropped"] == {"file known to be damaged": 10, "track of fewer than 8 frames": 7}
    assert found["tracks"] == 1


@pytest.mark.parametrize("field, value, message", [
    ("keypoints", [0] * 50, r"annotation 2: keypoints is not \[51\]"),
    ("bbox", None, r"annotation 2: bbox is missing"),
    ("track_id", "x", "annotation 2: track_id is 'x'"),
    ("image_id", 7, "annotation 2: image_id is 7, not an image"),
])  # fmt: skip
def test_annotations_at_fault_are_named(raw, build, content, field, value, message):
    content["annotations"][2][field] = value
    raw_posetrack.save(raw, "train", VIDEO, content)
    with pytest.raises(UserError, match=f"{VIDEO}.json, {message}"):
        build(raw)
    assert not (raw.parent / "data/posetrack").exists()


@pytest.mark.parametrize("change, message", [
    (lambda c: c.pop("images"), "is not a PoseTrack 2018 file: it lacks 'images'"),
    (lambda c: c["categories"].clear(), "is not a PoseTrack 2018 file"),
    (lambda c: c["categories"][0]["keypoints"].remove("left_hip"), "keypoints lack lhip"),
    (lambda c: c["categories"][0]["keypoints"].append("tail"), "it lacks 'tail'"),
    (lambda c: c["annotations"].append(3), "entries of the wrong kind"),
    (lambda c: c["images"][1].pop("is_labeled"), "image 1: is_labeled is None"),
    (lambda c: c["images"][1].update(file_name="x.jpg"), "image 1: file_name is 'x.jpg'"),
])  # fmt: skip
def test_files_of_another_form(raw, build, content, change, message):
    change(content)
    raw_posetrack.save(raw, "train", VIDEO, content)
    with pytest.raises(UserError, match=f"{VIDEO}.json.*{message}"):
        build(raw)


def test_folders(raw, build):
    with pytest.raises(UserError, match="lacks posetrack_data/annotations/train/"):
        build(raw / "images", partial=True)
    (raw / "posetrack_data/annotations").rename(raw / "annotations")
    (raw / "images/val/000342_mpii_test").rename(raw / "images/val/x")
    with pytest.raises(UserError, match="lacks images/val/000342_mpii_test; --partial"):
        build(raw)
    assert len(raw_dots.read_back(build(raw, partial=True), "train")) == 10
