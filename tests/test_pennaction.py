import json

import numpy as np
import pytest
import raw_dots
import raw_pennaction

from maed_jax.data import schema
from maed_jax.errors import UserError


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "pennaction", tmp_path / "data")


@pytest.fixture
def raw(tmp_path):
    return raw_pennaction.write(tmp_path / "Penn_Action")


@pytest.mark.parametrize("config", ["crops", "frames"])
def test_labels_are_where_the_images_show_them(raw, build, config):
    folder = build(raw, config)
    records = raw_dots.read_back(folder, "train")
    for number, record in enumerate(records):
        raw_dots.check_dots(record, 8, tolerance=1.6)  # bytes can only hold whole pixels
        assert record["frame"] == number % 3 and not record["has_smpl"] and not record["has_3d"]
        assert record["keypoints_2d"][38, 2] == 0, "the middle of the head is not its top"
        # elbow 32 is hidden in the first frame; nothing else is
        assert record["keypoints_2d"][:, 2].sum() == (12 if record["frame"] else 11)
    tracks = schema.read_tracks(folder, "train")
    assert [(t.name, t.start, t.length) for t in tracks] == [("0001", 0, 3), ("0002", 3, 3)]
    report = json.loads((folder / "report.json").read_text())["train"]
    assert report["people"] == 6 and not report["dropped"] and not report["mended"]


def test_the_box_is_the_square_around_what_is_visible(raw, build):
    record = raw_dots.read_back(build(raw, "frames"), "train")[1]
    joints = raw_dots.person(74, 30, 100)
    points = np.array([joints[name] for name in raw_pennaction.ORDER])
    low, high = points.min(0), points.max(0)
    np.testing.assert_allclose(record["box"][:2], (low + high) / 2, atol=1e-3)
    np.testing.assert_allclose(record["box"][2:], (high - low).max(), atol=1e-3)


def test_the_owners_split(raw, build):
    folder = build(raw, owner_split=True)
    assert [t.name for t in schema.read_tracks(folder, "train")] == ["0001"]
    assert [t.name for t in schema.read_tracks(folder, "test")] == ["0002"]


def test_single_frames_at_fault(raw, build):
    points = np.full((3, 13, 2), 40.0)
    points[1, 11] = 60
    points[1, 5] = np.nan
    hidden = np.ones((3, 13), np.uint8)
    hidden[2] = 0
    raw_pennaction.write_labels(raw / "labels/0001.mat", points, visibility=hidden)
    (raw / "frames/0002/000002.jpg").unlink()
    report = json.loads((build(raw) / "report.json").read_text())["train"]
    # all joints of the first frame coincide; the third has none
    assert report["dropped"] == {"missing image": 1, "no box": 1, "no visible keypoints": 1}
    assert report["mended"] == {"2D keypoint is not a number": 1}
    assert report["people"] == 3


def test_images_of_another_size(raw, build):
    points = np.full((3, 13, 2), 40.0)
    changed = np.uint16([[240, 320, 3]])
    raw_pennaction.write_labels(raw / "labels/0001.mat", points, dimensions=changed)
    report = json.loads((build(raw) / "report.json").read_text())["train"]
    assert report["dropped"] == {"image of another size than its labels are for": 3}


@pytest.mark.parametrize("changes, message", [
    ({"nframes": np.uint8([[4]])}, "nframes is 4, but"),
    ({"y": np.zeros((2, 13))}, "nframes is 3, but"),
    ({"x": np.zeros((3, 14))}, r"x is \[3, 14\]"),
    ({"visibility": None}, "lacks the variable visibility"),
    ({"train": np.int32([[0]])}, "train is 0"),
])  # fmt: skip
def test_files_at_fault_are_named(raw, build, changes, message):
    raw_pennaction.write_labels(raw / "labels/0002.mat", np.zeros((3, 13, 2)), **changes)
    with pytest.raises(UserError, match=f"0002.mat.*{message}"):
        build(raw, owner_split=True)
    assert not (raw.parent / "data/pennaction").exists()


def test_a_damaged_file_and_a_wrong_folder(raw, build):
    intact = (raw / "labels/0001.mat").read_bytes()
    (raw / "labels/0001.mat").write_bytes(intact[:200])
    with pytest.raises(UserError, match="0001.mat cannot be read"):
        build(raw)
    with pytest.raises(UserError, match="has no labels/.*mat: set --manual_dir"):
        build(raw / "frames")
    (raw / "frames/0001").rename(raw / "frames/1")
    with pytest.raises(UserError, match="lacks frames/0001; --partial"):
        build(raw)
    assert len(raw_dots.read_back(build(raw, partial=True), "train")) == 3
