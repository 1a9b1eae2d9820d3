import json

import numpy as np
import pytest
import raw_dots
import raw_instavariety

from maed_jax.data import schema
from maed_jax.data.images import crop_affine
from maed_jax.errors import UserError

NAME = "insta_variety_00_copy00_hmr_noS5.ckpt-642561"


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "instavariety", tmp_path / "data")


@pytest.fixture
def raw(tmp_path):
    return raw_instavariety.write(tmp_path / "insta_variety")


@pytest.mark.parametrize("config", ["crops", "frames"])
def test_labels_are_where_the_images_show_them(raw, build, config):
    folder = build(raw, config)
    for split, frames in (("train", [0, 1, 2, 0, 1]), ("test", [0, 1])):
        records = raw_dots.read_back(folder, split)
        assert [record["frame"] for record in records] == frames
        for record in records:
            raw_dots.check_dots(record, 8, index=raw_dots.OPENPOSE)
            confidence = record["keypoints_2d"][:, 2]
            # OpenPose's, except the middle of the hips, which the dataset lacks, and the eyes,
            # ears, toes and heels, which this person lacks
            assert np.flatnonzero(confidence).tolist() == [*range(8), *range(9, 15)]
            assert not record["has_smpl"] and not record["has_3d"]
    tracks = schema.read_tracks(folder, "train")
    assert [(t.name, t.length) for t in tracks] == [(f"{NAME}-0", 3), (f"{NAME}-1", 2)]


def test_the_whole_image_is_what_the_network_gets(raw, build):
    folder = build(raw)
    assert folder.parent.name == "frames", "the default: these images already are crops"
    record = raw_dots.read_back(folder, "train")[0]
    np.testing.assert_allclose(crop_affine(record["box"], 224), [[1, 0, 0], [0, 1, 0]], atol=1e-4)
    assert tuple(record["image_size"]) == (224, 224)
    record = raw_dots.read_back(folder, "test")[0]
    assert tuple(record["image_size"]) == (200, 200)
    np.testing.assert_allclose(crop_affine(record["box"], 200), [[1, 0, 0], [0, 1, 0]], atol=1e-4)


def test_single_images_and_keypoints_at_fault(raw, build):
    xys = np.full((3, 2, 14), 0.25)
    xys[1, 0, 4] = np.nan
    bad = raw_instavariety.track(3, image__xys=xys)
    images = [b"no image", raw_dots.jpeg(np.zeros((224, 224, 3), np.uint8)), b""]
    half = raw_instavariety.track(3, image__encoded=images)
    none = raw_instavariety.track(1, image__encoded=[b"x"])
    path = raw / "train" / f"{NAME}.tfrecord"
    raw_instavariety.write_records(path, bad, half, none)
    report = json.loads((build(raw) / "report.json").read_text())["train"]
    assert report["dropped"] == {"unreadable image": 3}
    assert report["mended"] == {"2D keypoint is not a number": 1}
    assert (report["tracks"], report["people"]) == (2, 4)


@pytest.mark.parametrize("changes, message", [
    ({"meta__N": np.array([4])}, "image/encoded has 3 images, but meta/N is 4"),
    ({"meta__N": np.array([0])}, "meta/N is 0"),
    ({"meta__N": np.array([1 << 60])}, "meta/N is"),
    ({"meta__N": None}, "meta/N is missing"),
    ({"image__xys": np.zeros(80)}, r"image/xys has 80 numbers instead of \[3, 2, 14\]"),
    ({"image__visibilities": [b"x"]}, "image/visibilities is a bytes_list"),
    ({"image__face_pts": np.zeros(0)}, "image/face_pts has 0 numbers"),
    ({"image__toe_pts": np.zeros(5)}, "image/toe_pts has 5 numbers"),
    ({"image__encoded": np.zeros(3)}, "image/encoded is a float_list"),
    ({"image__phis": None}, "image/xys are neither"),  # then these would be pixels
    ({"image__xys": np.full((3, 2, 14), 50.0)}, "image/xys are neither"),
])  # fmt: skip
def test_features_at_fault_are_named(raw, build, changes, message):
    path = raw / "train" / f"{NAME}.tfrecord"
    good = raw_instavariety.track(3)
    raw_instavariety.write_records(path, good, raw_instavariety.track(3, **changes))
    with pytest.raises(UserError, match=f"{NAME}.tfrecord, record 1: {message}"):
        build(raw)
    assert not (raw.parent / "data/instavariety").exists()


def test_without_feet(raw, build):
    path = raw / "train" / f"{NAME}.tfrecord"
    for feet in (None, np.zeros(0)):
        raw_instavariety.write_records(path, raw_instavariety.track(1, image__toe_pts=feet))
        record = raw_dots.read_back(build(raw, overwrite=True), "train")[0]
        assert record["keypoints_2d"][7, 2] == 1 and not record["keypoints_2d"][11].any()


def test_wrong_folders(raw, build):
    with pytest.raises(UserError, match=r"lacks train/\*.tfrecord, test/\*.tfrecord"):
        build(raw / "train", partial=True)
    (raw / "test/video_0.tfrecord").unlink()
    with pytest.raises(UserError, match=r"lacks test/\*.tfrecord; --partial"):
        build(raw)
    assert len(raw_dots.read_back(build(raw, partial=True), "train")) == 5
