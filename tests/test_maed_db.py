import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import raw_dots
import raw_maed_db
from raw_maed_db import FRAMES, SOMEWHERE, save

from maed_jax.data import schema
from maed_jax.data.images import crop_affine
from maed_jax.errors import UserError


@pytest.fixture
def build(monkeypatch, tmp_path):
    build = raw_dots.builds(monkeypatch, "maed_db", tmp_path / "data")
    return lambda config="3dpw", **options: build(
        tmp_path / "db", config, **{"image_root": tmp_path / "images"} | options
    )


@pytest.fixture
def content(tmp_path):
    return raw_maed_db.content(tmp_path / "images")


def report(folder, split="train"):
    return json.loads((folder / "report.json").read_text())[split]


@pytest.mark.parametrize("config", ["3dpw", "3dpw-frames"])
def test_all_of_it_comes_through(tmp_path, content, build, config):
    save(tmp_path / "db", "3dpw_train", content)
    save(tmp_path / "db", "3dpw_val", content, zlib.compress)
    folder = build(config)
    assert folder.parent.name == config
    for split in ("train", "validation"):
        tracks = schema.read_tracks(folder, split)
        assert [(t.name, t.start, t.length) for t in tracks] == [
            ("downtown_walk_0", 0, FRAMES), ("downtown_walk_1", FRAMES, FRAMES),
        ]  # fmt: skip
        for number, record in enumerate(raw_dots.read_back(folder, split)):
            raw_dots.check_dots(record, 8)
            assert record["frame"] == 5 + number % FRAMES
            assert record["has_smpl"] and record["has_3d"] and record["valid"] == (number != 3)
            np.testing.assert_array_equal(record["pose"], np.full(72, 0.25, np.float32))
            np.testing.assert_array_equal(record["shape"], np.full(10, 0.5, np.float32))
            expected = np.float32(content["joints3D"][number])
            np.testing.assert_array_equal(record["keypoints_3d"], expected)
            size = 200 if config == "3dpw" else (120, 160)
            assert (record["image_size"] == size).all()
    assert report(folder)["people"] == 2 * FRAMES and not report(folder)["dropped"]


def test_stills_with_rotation_matrices(tmp_path, content, build):
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about z: x becomes y
    pose = np.tile(np.eye(3), (len(content["img_name"]), 24, 1, 1))
    pose[:, 4] = quarter
    pose[1, 7] = 0  # not a rotation
    pose[2] = np.eye(3)  # someone upside down with arms outstretched: there is no fit
    stills = {k: v for k, v in content.items() if k not in ("vid_name", "joints3D", "valid")}
    stills["img_name"] = stills["img_name"].astype(object)
    stills["img_name"][0] = stills["img_name"][1]  # two people in one image
    save(tmp_path / "db", "coco2014-all_train", stills | {"pose": pose})
    folder = build("coco2014-all-frames")
    records = raw_dots.read_back(folder, "train")
    assert {record["frame"] for record in records} == {0} and not records[0]["has_3d"]
    labelled = [number for number, record in enumerate(records) if record["has_smpl"]]
    assert labelled == [0, *range(3, 24)]
    expected = np.zeros((24, 3))
    expected[4, 2] = np.pi / 2
    np.testing.assert_allclose(records[5]["pose"].reshape(24, 3), expected, atol=1e-6)
    assert report(folder)["mended"] == {"pose or shape is not a number": 2}
    names = [track.name for track in schema.read_tracks(folder, "train")]
    assert len(set(names)) == len(names) == 24 and "image_00006.jpg/2" in names


def test_crops_of_instavariety_with_its_own_25_keypoints(tmp_path, content, build):
    order = (
        "rheel rknee rhip lhip lknee lheel rwrist relbow rshoulder lshoulder lelbow lwrist neck "
        "head nose leye reye lear rear lbigtoe rbigtoe lsmalltoe rsmalltoe lankle rankle"
    ).split()
    points = np.zeros((len(content["img_name"]), 25, 3))
    for name, index in raw_dots.LSP.items():
        points[:, order.index(name)] = content["joints2D"][:, index]
    insta = {"vid_name": content["vid_name"], "img_name": content["img_name"], "joints2D": points}
    save(tmp_path / "db", "insta_train", insta)
    for record in raw_dots.read_back(build("insta-frames"), "train"):
        seen = raw_dots.dots(raw_dots.decode_image(record["image"]))
        for name, index in raw_dots.OPENPOSE.items():
            assert np.hypot(*(record["keypoints_2d"][index, :2] - seen[name])) < 1
        affine = crop_affine(record["box"], 120)  # the images here are 160 by 120
        np.testing.assert_allclose(affine, [[1, 0, -20], [0, 1, 0]], atol=1e-4)


def test_boxes_of_another_length_are_made_anew(tmp_path, content, build):
    content["bbox"] = np.concatenate([np.full((2, 4), np.inf), content["bbox"]])
    path = save(tmp_path / "db", "3dpw_train", content)
    with pytest.raises(UserError, match=f"{path} differ in length.*--boxes keypoints"):
        build()
    for record in raw_dots.read_back(build(boxes="keypoints"), "train"):
        raw_dots.check_dots(record, 8)
        assert record["box"][2] == record["box"][3] < 120
    del content["bbox"]
    save(tmp_path / "db", "3dpw_train", content)
    with pytest.raises(UserError, match="has no bbox: --boxes keypoints"):
        build(overwrite=True)


def test_single_rows_at_fault(tmp_path, content, build):
    content["joints2D"][1, 30] = np.nan
    content["joints2D"][2] = 0
    content["joints3D"][2] = 0
    content["pose"][2] = np.nan
    content["bbox"][4] = np.nan
    (tmp_path / "images/3dpw/imageFiles/downtown_walk_0/image_00010.jpg").unlink()
    save(tmp_path / "db", "3dpw_train", content)
    found = report(build())
    assert found["dropped"] == {"missing image": 1, "no box": 1, "no visible keypoints": 1}
    assert found["people"] == 2 * FRAMES - 3


@pytest.mark.parametrize("changes, message", [
    ({"joints2D": None}, "it has no joints2D"),
    ({"shape": None}, "it has no shape"),
    ({"joints2D": np.zeros((24, 14, 3))}, r"joints2D is \[24, 14, 3\]"),
    ({"joints3D": np.zeros((24, 49, 3))}, r"joints3D is \[24, 49, 3\]"),
    ({"joints3D": np.full((24, 49, 4), 900.0)}, "joints3D are too large"),
    ({"img_name": np.arange(24)}, "img_name is"),
    ({"img_name": "x.jpg"}, "img_name is"),
    ({"pose": np.zeros((23, 72))}, "differ in length"),
])  # fmt: skip
def test_wrong_databases_are_named(tmp_path, content, build, changes, message):
    changed = {k: v for k, v in (content | changes).items() if v is not None}
    save(tmp_path / "db", "3dpw_train", changed)
    with pytest.raises(UserError, match=f"3dpw_train_db.pt.*{message}"):
        build()
    assert not (tmp_path / "data/maed_db").exists()


def test_a_database_without_rows(tmp_path, content, build):
    empty = {name: array[:0] for name, array in content.items()}
    save(tmp_path / "db", "3dpw_train", empty)
    with pytest.raises(UserError, match="3dpw_train_db.pt has no rows"):
        build()


def test_joints_mixed_up_are_noticed(tmp_path, content, build):
    """The joint order that the original's conversion of Penn Action produces is refused."""
    mixed = np.zeros_like(content["joints2D"])
    # Ankles get a shoulder and a wrist, shoulders an ankle and a knee.
    mixed[:, [25, 30, 33, 34]] = content["joints2D"][:, [33, 31, 30, 26]]
    save(tmp_path / "db", "pennaction_train", content | {"joints2D": mixed})
    with pytest.raises(UserError, match="ankles above shoulders.*use the builder pennaction"):
        build("pennaction")


class Evil:
    def __reduce__(self):
        return open, ("executed", "w")


def test_a_hostile_file(tmp_path, content, build, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "db", "3dpw_train", content | {"cam": Evil()})
    with pytest.raises(UserError, match="3dpw_train_db.pt asks to construct .*open"):
        build()
    assert not Path("executed").exists()


def test_where_the_images_are(tmp_path, content, build):
    save(tmp_path / "db", "3dpw_train", content)
    with pytest.raises(UserError, match=f"such as {SOMEWHERE}.*, which do not exist: set"):
        build(image_root=None)
    with pytest.raises(UserError, match="has none under that name or the end of it"):
        build(image_root=tmp_path / "db")
    with pytest.raises(UserError, match="is too deep: without the first 7 parts"):
        build(image_root=tmp_path / "images/3dpw/imageFiles/downtown_walk_0")
    for root in ("images/3dpw/imageFiles", "images/3dpw"):
        folder = build(image_root=tmp_path / root, overwrite=True)
        for record in raw_dots.read_back(folder, "train")[::12]:
            raw_dots.check_dots(record, 8)
    here = str(tmp_path / "images")  # NumPy's replace truncates long ones
    content["img_name"] = np.array([n.replace(SOMEWHERE, here) for n in content["img_name"]])
    save(tmp_path / "db", "3dpw_train", content)
    assert len(raw_dots.read_back(build(image_root=None, overwrite=True), "train")) == 24


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("name", ["/dev/zero", "/etc/passwd", "a/" * 1000 + "a.jpg"])
def test_names_of_other_files_than_images(tmp_path, content, build, name, root):
    content["img_name"] = np.array([*content["img_name"][:-1], name])
    save(tmp_path / "db", "3dpw_train", content)
    with pytest.raises(UserError, match="3dpw_train_db.pt names '.* as an image, but .* in .jpg, "):
        build(**{} if root else {"image_root": None})


def test_names_that_no_file_can_have(tmp_path, content, build):
    names = [f"{SOMEWHERE}/{name}.jpg" for name in ("a" * 300, "a\0b", f"a_{10**11}")]
    content["img_name"] = np.array([*names[:2], *content["img_name"][2:-1], names[2]])
    save(tmp_path / "db", "3dpw_train", content)
    assert report(build())["dropped"] == {"missing image": 3}


def test_a_wrong_folder(build, tmp_path):
    (tmp_path / "db").mkdir()
    with pytest.raises(UserError, match="has no h36m_train_db.pt, nor _val or _test"):
        build("h36m")
