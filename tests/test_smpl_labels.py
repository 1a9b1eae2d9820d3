import json
import math
import pickle

import numpy as np
import pytest

from maed_jax.datasets import smpl_labels
from maed_jax.errors import UserError

QUARTER = math.pi / 2


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


# --- EFT ------------------------------------------------------------------------------------------


def eft_fit(**changes):
    turns = [np.eye(3).tolist() for _ in range(24)]
    turns[0] = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]  # half a turn about x
    turns[4] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # a quarter about z: x becomes y
    points = [[float(i), 2.0 * i, 1.0] for i in range(49)]
    return {
        "parm_pose": turns, "parm_shape": [0.1] * 10,
        "bbox_scale": 1.5, "bbox_center": [200.5, 100.0], "joint_validity_openpose18": [1] * 18,
        "gt_keypoint_2d": points, "smpltype": "smpl", "annotId": 437295,
        "imageName": "COCO_train2014_000000044474.jpg",
    } | changes  # fmt: skip


def write_eft(path, *fits):
    path.write_text(json.dumps({"ver": 0.1, "data": fits}))
    return path


def test_eft(tmp_path):
    second = eft_fit(imageName="images/x.png", subjectId="a_0", parm_shape=[[0.1] * 10])
    del second["annotId"], second["gt_keypoint_2d"]
    found = smpl_labels.read_eft(write_eft(tmp_path / "eft.json", eft_fit(), second, second))
    assert found.image == ("COCO_train2014_000000044474.jpg", "x.png", "x.png")
    assert found.annotation.tolist() == [437295, -1, -1]
    pose = found.pose[0].reshape(24, 3)
    np.testing.assert_allclose(np.abs(pose[0]), [math.pi, 0, 0], atol=1e-6)
    np.testing.assert_allclose(pose[4], [0, 0, QUARTER], atol=1e-6)
    np.testing.assert_array_equal(np.delete(pose, [0, 4], 0), 0)
    np.testing.assert_array_equal(
        found.box[0], [200.5, 100, 300, 300]
    )  # scale is in units of 200 pixels
    np.testing.assert_array_equal(found.keypoints_2d[0, 7], [7, 14, 1])
    assert not found.keypoints_2d[1].any()
    for name, size in (("pose", 72), ("shape", 10), ("box", 4)):
        array = getattr(found, name)
        assert array.shape == (3, size) and array.dtype == np.float32


MIRROR = [[[-1, 0, 0], [0, 1, 0], [0, 0, 1]], *[np.eye(3).tolist()] * 23]


@pytest.mark.parametrize("changes, message", [
    ({"parm_pose": [0] * 72}, r"fit 1: parm_pose is not \[24, 3, 3\]"),
    ({"parm_pose": np.zeros((24, 3, 3)).tolist()}, "fit 1: parm_pose of joint 0 is not a rotation"),
    ({"parm_pose": MIRROR}, "fit 1: parm_pose of joint 0 is not a rotation"),
    ({"parm_shape": None}, "fit 1: parm_shape is missing"),
    ({"bbox_center": [float("nan"), 1]}, "fit 1: bbox_center is not"),
    ({"gt_keypoint_2d": [[1, 2, 3]] * 24}, r"fit 1: gt_keypoint_2d is not \[49, 3\]"),
    ({"smpltype": "smplx"}, "fit 1: smpltype is 'smplx'"),
    ({"imageName": None}, "fit 1: imageName is None"),
    ({"annotId": "none"}, "fit 1: annotId is 'none'"),
])  # fmt: skip
def test_eft_names_the_fit_and_its_field(tmp_path, changes, message):
    path = write_eft(tmp_path / "eft.json", eft_fit(), eft_fit(**changes))
    with pytest.raises(UserError, match=f"eft.json, {message}"):
        smpl_labels.read_eft(path)


@pytest.mark.parametrize("content", [{}, [], {"data": []}, {"data": [{"pose": 1}]}, eft_fit()])
def test_what_is_not_eft(tmp_path, content):
    path = tmp_path / "eft.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not an EFT file"):
        smpl_labels.read_eft(path)


# --- SPIN -----------------------------------------------------------------------------------------


def spin_rows(n=3):
    part = np.zeros((n, 24, 3))
    part[:, 6] = [31, 62, 1]  # keypoint 25 + 6, the right wrist
    names = [f"train2014/{i % 2}.jpg" for i in range(n)]
    return {"imgname": np.array(names), "center": np.ones((n, 2)), "part": part,
            "scale": np.full(n, 1.2)}  # fmt: skip


def test_spin_rows_without_fits_are_no_labels(tmp_path):
    np.savez(tmp_path / "rows.npz", **spin_rows(), openpose=np.zeros((3, 25, 3)))
    found = smpl_labels.read_spin(tmp_path / "rows.npz")
    assert found.imgname == ("train2014/0.jpg", "train2014/1.jpg", "train2014/0.jpg")
    assert not found.has_smpl.any() and found.pose.shape == (3, 72)
    np.testing.assert_array_equal(found.part[1, 6], [31, 62, 1])


def test_spin_fits_join_their_rows(tmp_path):
    fits = np.arange(3 * 82, dtype=np.float64).reshape(3, 82)
    np.save(tmp_path / "fits.npy", fits)
    names = {"imgname": np.array([b"0.jpg", b"1.jpg", b"0.jpg"])}
    np.savez(tmp_path / "rows.npz", **spin_rows() | names)
    for found in (
        smpl_labels.read_spin(tmp_path / "rows.npz", tmp_path / "fits.npy"),
        smpl_labels.read_spin(tmp_path / "fits.npy"),
    ):
        np.testing.assert_array_equal(found.pose, fits[:, :72])
        np.testing.assert_array_equal(found.shape, fits[:, 72:])
        assert found.has_smpl.all()


def test_spin_keeps_the_flags_of_its_fits(tmp_path):
    pose = np.ones((3, 72))
    pose[0, 5] = np.nan
    shape = np.ones((4, 10))
    shape[3, 2] = np.inf
    pose = np.r_[pose, pose[2:]]
    np.savez(tmp_path / "mview.npz", pose=pose, shape=shape, has_smpl=[1, 0, 1, 1])
    found = smpl_labels.read_spin(tmp_path / "mview.npz")
    assert found.has_smpl.tolist() == [False, False, True, False]
    assert not found.pose[[0, 3]].any() and not found.shape[[0, 3]].any()
    assert found.imgname is None


@pytest.mark.parametrize("changes, message", [
    ({"pose": np.ones((3, 24, 3, 3)), "shape": np.ones((3, 10))}, r"pose is \[3, 24, 3, 3\]"),
    ({"pose": np.ones((2, 72)), "shape": np.ones((2, 10))}, "differ in length"),
    ({"center": np.ones((4, 2))}, "differ in length"),
    ({"center": np.float64(1)}, "center is"),
    ({"imgname": np.arange(3)}, "imgname is"),
    ({"imgname": np.array([Evil("executed")] * 3, object)}, "is not a file of plain arrays"),
])  # fmt: skip
def test_spin_names_the_field(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", allow_pickle=True, **spin_rows() | changes)
    with pytest.raises(UserError, match=f"rows.npz.*{message}"):
        smpl_labels.read_spin("rows.npz")
    assert not (tmp_path / "executed").exists()


def test_what_is_not_spin(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, other=np.ones(3))
    with pytest.raises(UserError, match="neither SPIN's rows nor fits"):
        smpl_labels.read_spin(path)
    intact = path.read_bytes()
    for content in (b"", b"text", intact[:-30], pickle.dumps(np.ones((3, 82)))):
        path.write_bytes(content)
        with pytest.raises(UserError, match="x.npz is not a file of plain arrays"):
            smpl_labels.read_spin(path)
    with pytest.raises(UserError, match="none.npy cannot be read: no such file"):
        smpl_labels.read_spin(tmp_path / "none.npy")
    np.save(tmp_path / "x.npy", np.ones((3, 85)))
    with pytest.raises(UserError, match=r"x.npy: the array of fits is \[3, 85\]"):
        smpl_labels.read_spin(tmp_path / "x.npy")


# --- MoSh -----------------------------------------------------------------------------------------


def test_mosh_stands_on_its_feet(tmp_path):
    """If the raw root is a quarter turn about y, a standing person looks along -x."""
    poses = np.full((2, 72), 0.2)
    poses[0, :3], poses[1, :3] = 0, [0, QUARTER, 0]
    path = tmp_path / "Directions 1_cam0_aligned.pkl"
    path.write_bytes(pickle.dumps({"new_poses": poses, "betas": np.full((1, 10), 0.5)}, 2))
    pose, shape = smpl_labels.read_mosh(path)
    for row, forward in ((0, [0, 0, -1]), (1, [-1, 0, 0])):
        turn = smpl_labels.Rotation.from_rotvec(pose[row, :3])
        np.testing.assert_allclose(turn.apply([0, 1, 0]), [0, -1, 0], atol=1e-6)  # up is -y
        np.testing.assert_allclose(turn.apply([0, 0, 1]), forward, atol=1e-6)
    np.testing.assert_allclose(pose[:, 3:], 0.2)
    np.testing.assert_allclose(shape, 0.5)


@pytest.mark.parametrize("content, message", [
    ([1], "is not a MoSh file"),
    ({"betas": np.ones(10)}, "new_poses is"),
    ({"new_poses": np.ones((2, 72)), "betas": np.ones(9)}, "betas is not"),
    ({"new_poses": np.full((2, 72), np.nan), "betas": np.ones(10)}, "new_poses is not"),
    ({"new_poses": Evil("executed"), "betas": np.ones(10)}, "asks to construct"),
])  # fmt: skip
def test_wrong_mosh(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mosh.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(UserError, match=f"mosh.pkl.*{message}"):
        smpl_labels.read_mosh(path)
    assert not (tmp_path / "executed").exists()


# --- All of them ----------------------------------------------------------------------------------


def test_a_camera_without_a_rotation_gives_no_pose():
    pose = np.full((3, 72), 0.2)
    turns = np.stack([np.eye(3), np.zeros((3, 3)), np.full((3, 3), np.nan)])
    seen = smpl_labels.root_in_camera(pose, turns)
    np.testing.assert_allclose(seen[0], 0.2)
    assert np.isnan(seen[1:]).all()
    assert np.isnan(smpl_labels.root_in_camera(pose[0], np.zeros((3, 3)))).all()
