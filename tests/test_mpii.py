"""MPII's annotations, the owner's and Newell's, become the same records."""

import json

import numpy as np
import pytest
import raw_dots
import raw_stills

from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.errors import UserError


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "mpii", tmp_path / "data", overwrite=True)


@pytest.fixture
def raw(tmp_path):
    return raw_stills.write_mpii(tmp_path / "raw")


def test_the_owners_release(build, raw):
    folder = build(raw)
    records = raw_dots.read_back(folder, "train")
    assert [r["track"] for r in records] == ["a/0", "b/0", "c/0"]
    raw_dots.check_dots(records[0], 8)
    raw_dots.check_dots(records[2], 8)
    names = [KEYPOINT_NAMES[i] for i in np.flatnonzero(records[1]["keypoints_2d"][:, 2])]
    assert names == ["rankle", "rknee", "rhip", "lhip", "lknee", "lankle", "hip"]
    report = json.loads((folder / "report.json").read_text())
    assert report["train"]["dropped"] == {"no box": 1} and "validation" not in report


def test_boxes_are_squares_of_200_times_scale_below_the_owners_place(build, raw):
    record = raw_dots.read_back(build(raw, "frames"), "train")[0]
    x, y = raw_stills.mpii_objpos(raw_stills.person(), 0.6)
    np.testing.assert_allclose(record["box"], [x, y + 15 * 0.6, 120, 120], rtol=1e-6)
    joints = raw_stills.person()
    for name in raw_stills.MPII_ORDER:
        x, y, confidence = record["keypoints_2d"][KEYPOINT_NAMES.index(name)]
        assert (x, y) == joints[name] and confidence == 1


def test_newells_tables_say_the_same(build, raw):
    (a, _, c) = raw_dots.read_back(build(raw), "train")
    people = [("a.jpg", raw_stills.person()), ("c.jpg", raw_stills.person(70))]
    raw_stills.write_newell(raw / "train.h5", people[:1])
    raw_stills.write_newell(raw / "valid.h5", people[1:])
    folder = build(raw, table="newell")
    (train,) = raw_dots.read_back(folder, "train")
    (validation,) = raw_dots.read_back(folder, "validation")
    for record, expected in ((train, a), (validation, c)):
        np.testing.assert_allclose(record["box"], expected["box"], rtol=1e-5)
        np.testing.assert_allclose(record["keypoints_2d"], expected["keypoints_2d"], atol=1e-4)
        assert record["image"] == expected["image"]
    (raw / "mpii_human_pose_v1_u12_1.mat").unlink()
    assert len(raw_dots.read_back(build(raw), "train")) == 1, "used if it is the only one"
    with pytest.raises(UserError, match="lacks mpii_human_pose_v1_u12_1.mat"):
        build(raw, table="release")


def test_what_newell_has_not_labelled(build, raw):
    joints = raw_stills.person()
    del joints["headtop"]
    joints["neck"] = (-3, 20)
    raw_stills.write_newell(raw / "train.h5", [("a.jpg", joints)])
    (record,) = raw_dots.read_back(build(raw, table="newell"), "train")
    missing = {name for name in raw_stills.MPII_ORDER
               if not record["keypoints_2d"][KEYPOINT_NAMES.index(name)].any()}  # fmt: skip
    assert missing == {"headtop", "neck"}


def test_held_out_images(build, raw, tmp_path):
    (tmp_path / "valid.txt").write_text("c.jpg\n")
    folder = build(raw, validation=tmp_path / "valid.txt")
    assert [r["track"] for r in raw_dots.read_back(folder, "train")] == ["a/0", "b/0"]
    assert [r["track"] for r in raw_dots.read_back(folder, "validation")] == ["c/0"]
    with pytest.raises(UserError, match="nowhere.txt cannot be read"):
        build(raw, validation=tmp_path / "nowhere.txt")


def test_fits_of_eft_go_by_keypoints(build, raw, tmp_path):
    def shifted(dx):
        joints = {n: raw_stills.person()[n] for n in ("rankle", "lankle", "lwrist", "rwrist")}
        return {name: (x + dx, y) for name, (x, y) in joints.items()}

    fits = [raw_stills.eft("a.jpg", 3, shifted(50)), raw_stills.eft("a.jpg", 4, shifted(1))]
    path = raw_stills.write_eft(tmp_path / "MPII_ver01.json", fits)
    a, b, c = raw_dots.read_back(build(raw, eft=[path]), "train")
    np.testing.assert_allclose(a["pose"], raw_stills.pose(4), atol=1e-5)
    assert a["has_smpl"] and not b["has_smpl"] and not c["has_smpl"]


def test_wrong_files_are_named(build, raw, tmp_path):
    with pytest.raises(UserError, match="lacks images"):
        build(tmp_path)
    people = [("a.jpg", raw_stills.person())] * 2
    raw_stills.write_newell(raw / "train.h5", people, scale=0.6, center=np.zeros((1, 2)))
    with pytest.raises(UserError, match=r"center is \(1, 2\), but for 2 people"):
        build(raw, table="newell")
    raw_stills.write_newell(raw / "train.h5", people, part=None)
    with pytest.raises(UserError, match="lacks part"):
        build(raw, table="newell")
    for name, shape in {"part": (2, 16, 2), "center": (2, 2), "person": 2}.items():
        raw_stills.write_newell(raw / "train.h5", people, **{name: np.zeros(shape, "S3")})
        with pytest.raises(UserError, match=rf"{name} contains \|S3, not numbers"):
            build(raw, table="newell")
    raw_stills.write_newell(raw / "train.h5", people, person=[0, np.nan])
    with pytest.raises(UserError, match="person is not a number in every row"):
        build(raw, table="newell")
    for name in (b"../x.jpg", b"\xb7.jpg"):
        raw_stills.write_newell(raw / "train.h5", people[:1], imgname=np.array([name]))
        with pytest.raises(UserError, match="not a file name"):
            build(raw, table="newell")
    (raw / "train.h5").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="train.h5 cannot be read"):
        build(raw, table="newell")
    rect = raw_stills.mpii_rect(raw_stills.person())
    rect["annopoints"]["point"][0, 0]["id"] = 16.0
    annolist = [{"image": {"name": "a.jpg"}, "annorect": raw_stills._structs([rect])}]
    raw_stills.write_release(raw, annolist, [[1]])
    with pytest.raises(UserError, match="annorect 1 of a.jpg"):
        build(raw)
    raw_stills.write_release(raw, annolist, [[1, 1]])
    with pytest.raises(UserError, match="1 annolist and 2 img_train"):
        build(raw)
    (raw / "mpii_human_pose_v1_u12_1.mat").write_bytes(b"no MATLAB")
    with pytest.raises(UserError, match="cannot be read as a MATLAB file"):
        build(raw)
