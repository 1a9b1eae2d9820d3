"""datasets/threedpw: files in the owner's formats become records with the ground truth."""

import dataclasses
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import raw_dots
import raw_threedpw
from built_dataset import image, projected, stacked, tracks
from scipy.ndimage import gaussian_filter1d
from scipy.signal import medfilt

from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.data import prepare
from maed_jax.datasets.threedpw import body as threedpw_body
from maed_jax.errors import UserError

LIMBS = [KEYPOINT_NAMES.index(name) for name in raw_threedpw.OPENPOSE[2:14]]
KNOWN = [KEYPOINT_NAMES.index(name) for name in raw_threedpw.OPENPOSE if name != "rear"]


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "3dpw", tmp_path / "data", config="frames", partial=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder with the raw data, and the ground truth."""
    folder = tmp_path_factory.mktemp("3dpw")
    return folder, raw_threedpw.write(folder)


@pytest.fixture
def own(raw, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(raw[0], tmp_path / "raw"))


def test_evaluation_has_every_frame_and_all_that_protocols_need(raw, build):
    folder, truths = raw
    found = tracks(build(folder), "test")
    assert list(found) == ["talk_00_0", "talk_00_1"]
    for name, rows in found.items():
        truth = truths[name]
        assert [row["frame"] for row in rows] == list(range(raw_threedpw.FRAMES))
        assert [row["valid"] for row in rows] == [t != 5 for t in range(raw_threedpw.FRAMES)]
        assert all(row["has_smpl"] and not row["has_3d"] for row in rows)
        assert {row["gender"] for row in rows} == {truth.gender}
        assert {(row["body"], row["frame_rate"]) for row in rows} == {("smpl", 30.0)}
        np.testing.assert_allclose(stacked(rows, "shape"), np.tile(truth.betas, (12, 1)), rtol=1e-6)
        np.testing.assert_allclose(rows[0]["intrinsics"], [150, 152, 50, 62])
        points = stacked(rows, "keypoints_2d")
        seen = np.arange(12) != 3
        np.testing.assert_allclose(
            points[seen][:, KNOWN, :2], truth.keypoints_2d[seen][:, KNOWN], atol=1e-3
        )
        assert (points[seen][:, KNOWN, 2] == 1).all() and not points[3].any()
        others = [k for k in range(49) if k not in KNOWN]
        assert not points[:, others].any(), "also the point of which OpenPose is uncertain"
        left, right = (points[seen][:, KEYPOINT_NAMES.index(n), 0] for n in ("lhip", "rhip"))
        assert (left > right).all(), "they face the camera"


def test_pose_is_in_the_camera_frame_and_belongs_to_the_3d_keypoints(raw, build):
    folder, truths = raw
    directory = build(folder, body="mannequin")
    for split, name in (("train", "walk_00_0"), ("test", "talk_00_1")):
        rows = [row for row in tracks(directory, split)[name] if row["has_smpl"]]
        truth = truths[name].keypoints_3d[[row["frame"] for row in rows]]
        found = stacked(rows, "keypoints_3d")
        np.testing.assert_allclose(found[..., :3], truth, atol=1e-4)
        assert (found[..., 3] == np.isin(np.arange(49), range(25, 39))).all()
        # As in evaluation: from pose and shape alone, relative to any point of the body.
        pose = np.resize(stacked(rows, "pose"), (12, 72))
        posed = raw_threedpw.posed(pose, rows[0]["shape"])[0][: len(rows)]
        np.testing.assert_allclose(posed - posed[:, :1], truth - truth[:, :1], atol=1e-4)
        # The record's intrinsics project them onto the 2D keypoints.
        for row in rows:
            if row["keypoints_2d"].any():
                off = projected(row) - row["keypoints_2d"][:, :2]
                assert np.abs(off[LIMBS]).max() < 0.1


def test_training_leaves_out_what_would_teach_nonsense(raw, build):
    directory = build(raw[0], body="mannequin")
    rows = tracks(directory, "train")["walk_00_0"]
    assert [row["frame"] for row in rows] == [t for t in range(12) if t != 3]
    without_camera = next(row for row in rows if row["frame"] == 5)
    assert not (without_camera["valid"] or without_camera["has_smpl"] or without_camera["has_3d"])
    assert without_camera["keypoints_2d"].any()
    assert "1 left out: 6 of 12 limb joints or fewer visible" in prepare.summary(directory)


def test_crops_show_the_same_person(raw, build):
    """3D labels project onto the 2D ones, which are at the dots in the images."""
    for row in tracks(build(raw[0], "crops", body="mannequin"), "test")["talk_00_0"]:
        if not row["keypoints_2d"].any():
            continue
        assert np.abs(projected(row) - row["keypoints_2d"][:, :2])[LIMBS].max() < 0.1
        for wrist in ("lwrist", "rwrist"):
            column, line = np.rint(row["keypoints_2d"][KEYPOINT_NAMES.index(wrist), :2]).astype(int)
            assert image(row)[line, column].min() > 150


def test_boxes_follow_the_rule_of_the_field(raw, build):
    """Compares with the same rule in SciPy's filters: gaps, then a median, then a Gaussian."""
    folder, truths = raw
    rows = tracks(build(folder), "test")["talk_00_0"]
    truth = truths["talk_00_0"].keypoints_2d[:, LIMBS]
    low, high = truth.min(1), truth.max(1)
    params = np.c_[(low + high) / 2, 150 / np.linalg.norm(high - low, axis=-1)]
    params[3] = (params[2] + params[4]) / 2  # no one was found here
    smooth = np.stack([gaussian_filter1d(medfilt(c, 11), 8) for c in params.T], -1)
    side = 150 / smooth[:, 2] * 1.1
    expected = np.c_[smooth[:, :2], side, side]
    np.testing.assert_allclose(stacked(rows, "box"), expected, rtol=1e-4)


def change_first(field, change):
    def spoil(content):
        content[field][0] = change(content[field][0])

    return spoil


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.pop("poses2d"), "lacks the field poses2d"),
        (change_first("poses", lambda p: p[:-1]), r"poses\[0\] has 11 frames, but cam_poses has"),
        (change_first("poses2d", lambda p: p[:, :, :14]), r"poses2d\[0\] is .*n 3 18"),
        (lambda c: c["genders"].pop(), "genders does not have one entry for each of 2"),
        (lambda c: c.update(genders=["x", "f"]), r"genders\[0\] is 'x'"),
        (lambda c: c.update(sequence="other"), "sequence says 'other'"),
        (change_first("betas", lambda b: b[:9]), "9 coefficients"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(own, build, tmp_path, change, message):
    raw_threedpw.rewrite(own, "sequenceFiles/test/talk_00.pkl", change)
    with pytest.raises(UserError, match=r"talk_00\.pkl.*" + message):
        build(own)
    assert not (tmp_path / "data" / "threedpw").exists()


def test_a_hostile_pickle_is_not_run(own, build, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/was_here",)

    with open(own / "sequenceFiles/train/walk_00.pkl", "wb") as file:
        pickle.dump({"sequence": "walk_00", "poses": Hostile()}, file, protocol=2)
    with pytest.raises(UserError, match=r"walk_00\.pkl asks to construct (posix|os)\.system"):
        build(own)
    assert not (tmp_path / "was_here").exists()


def test_single_frames_at_fault_are_counted(own, build):
    def spoil(content):
        content["poses"][0][7, 10] = np.nan
        content["poses2d"][0][8, :, 4] = np.nan
        content["cam_poses"][9] = 0
        content["poses2d"][1][:] = 0  # never found

    raw_threedpw.rewrite(own, "sequenceFiles/test/talk_00.pkl", spoil)
    images = own / "imageFiles" / "talk_00"
    (images / "image_00000.jpg").unlink()
    data = (images / "image_00001.jpg").read_bytes()
    (images / "image_00001.jpg").write_bytes(data[: len(data) // 2])
    directory = build(own)
    found = tracks(directory, "test")
    assert list(found) == ["talk_00_0"]
    rows = {row["frame"]: row for row in found["talk_00_0"]}
    assert list(rows) == list(range(2, 12))
    assert [frame for frame, row in rows.items() if not row["has_smpl"]] == [7, 9]
    elbow = KEYPOINT_NAMES.index("rwrist")
    assert not rows[8]["keypoints_2d"][elbow].any() and rows[7]["keypoints_2d"][elbow].any()
    text = prepare.summary(directory)
    for reason in ("12 left out: no visible keypoints", "1 left out: missing image",
                   "1 left out: unreadable image"):  # fmt: skip
        assert reason in text


def test_what_is_not_there_is_named(own, build, tmp_path):
    with pytest.raises(UserError, match="does not have 3DPW's layout"):
        build(tmp_path)
    with pytest.raises(UserError, match="lacks sequenceFiles/validation; --partial"):
        build(own, partial=False)
    shutil.rmtree(own / "imageFiles" / "walk_00")
    with pytest.raises(UserError, match="sequenceFiles/validation, imageFiles/walk_00"):
        build(own, partial=False)


def test_actors_have_bodies_of_their_own(raw, build, tmp_path, monkeypatch):
    folder, truths = raw
    with pytest.raises(UserError, match="SMPL_MALE.npz is missing"):
        build(folder, body=str(tmp_path))
    body = mannequin()
    taller = dataclasses.replace(
        body, template=body.template * 1.1, rest_joints=body.rest_joints * 1.1,
        shape_dirs=body.shape_dirs * 1.1, rest_joint_dirs=body.rest_joint_dirs * 1.1,
        pose_dirs=body.pose_dirs * 1.1,
    )  # fmt: skip
    bodies = {"male": body, "female": taller}
    monkeypatch.setattr(threedpw_body, "load_body", lambda source, gender: bodies[gender])
    found = tracks(build(folder, body=str(tmp_path)), "test")
    for name, factor in (("talk_00_0", 1.0), ("talk_00_1", 1.1)):
        found_points = found[name][0]["keypoints_3d"][..., :3]
        sizes = [
            np.linalg.norm(points[0] - points[12])
            for points in (found_points, truths[name].keypoints_3d[0])
        ]
        assert abs(sizes[0] / sizes[1] - factor) < 1e-3
