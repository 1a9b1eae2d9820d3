"""datasets/h36m: files in the owner's formats become records with the ground truth."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import raw_dots
import raw_h36m as owner
from built_dataset import image, keypoint, labelled, projected, stacked, tracks
from raw_person import AS_KEYPOINTS

from maed_jax.data import prepare, schema
from maed_jax.errors import UserError

LIMBS = {side + joint for side in "lr" for joint in
         ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")}  # fmt: skip
KNOWN = LIMBS | {"neck", "hip", "Spine (H36M)", "Jaw (H36M)", "Head (H36M)"}
S1, S9 = ("S1_Directions_1.54138969", "S1_Directions_1.60457274"), "S9_Directions_1.54138969"


@pytest.fixture
def build(monkeypatch, tmp_path):
    return raw_dots.builds(monkeypatch, "h36m", tmp_path / "data", config="frames", partial=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The owner's archives, without metadata.xml."""
    folder = tmp_path_factory.mktemp("h36m")
    owner.write(folder)
    return folder


@pytest.fixture
def own(raw, tmp_path):
    """A copy to modify."""
    return Path(shutil.copytree(raw, tmp_path / "raw"))


def check(rows, *, pixels=1e-3, metres=1e-5):
    """Every joint, by name, in 2D and 3D, and the image of exactly this frame."""
    subject, _, camera = rows[0]["track"].replace(".", "_").replace("_1_", "_").split("_")
    truth = owner.truth(subject, camera)
    frames = [row["frame"] for row in rows]
    assert labelled(rows, "keypoints_3d") == KNOWN
    for name in KNOWN:
        at = next(i for i, joint in enumerate(owner.JOINTS) if AS_KEYPOINTS.get(joint) == name)
        found = keypoint(rows, name, "keypoints_3d")[:, :3]
        np.testing.assert_allclose(found, truth.points[frames, at], atol=metres, err_msg=name)
        if labelled(rows):
            found = keypoint(rows, name)[:, :2]
            np.testing.assert_allclose(found, truth.pixels[frames, at], atol=pixels, err_msg=name)
    for row in rows:
        assert abs(int(image(row)[0, 0, 0]) - 40 - owner.SHADE * row["frame"]) < 5
        assert tuple(row["image_size"][::-1]) == owner.SIZES[camera]
        x, y = np.rint(truth.pixels[row["frame"], owner.JOINTS.index("lwrist")]).astype(int)
        assert image(row)[y, x].min() > 120


def test_the_owners_archives(raw, build):
    directory = build(raw)
    train, test = tracks(directory, "train"), tracks(directory, "test")
    assert tuple(train) == S1
    assert list(test) == [
        S9, "S9_Directions_1.60457274", "S9_Greeting.54138969", "S9_Greeting.60457274",
        "S11_Directions.60457274",
    ]  # fmt: skip
    subsets = [track.subset for track in schema.read_tracks(directory, "test")]
    assert subsets == ["Directions", "Directions", "Greeting", "Greeting", "Directions"]
    for rows in (*train.values(), *test.values()):
        assert [row["frame"] for row in rows] == [0, 5, 10]
        assert {row["frame_rate"] for row in rows} == {50}
        assert all(row["valid"] and row["has_3d"] and not row["has_smpl"] for row in rows)
        check(rows)
    rows = train[S1[1]]
    np.testing.assert_allclose(rows[0]["intrinsics"], owner.INTRINSIC["60457274"][:4], rtol=1e-4)
    for row in rows:  # a lens without distortion
        assert np.nanmax(np.abs(projected(row) - row["keypoints_2d"][:, :2])) < 0.1
    left, right = (keypoint(train[S1[0]], side + "wrist") for side in "lr")
    assert (left[:, 0] > right[:, 0]).all() and (left[:, 1] < right[:, 1]).all(), "it is raised"
    assert "3 left out: video known to be damaged" in prepare.summary(directory)


def test_labels_that_are_shifted_are_only_used_about_the_root(raw, build):
    found = tracks(build(raw), "test")
    for name, rows in found.items():
        assert labelled(rows) == (set() if "S9_Greeting" in name else KNOWN)


def test_poses_in_the_world_and_cameras_from_metadata(build, tmp_path):
    """h36m-fetch's layout, and images with SPIN's names."""
    owner.write(tmp_path / "raw", world_only=True, extracted=True)
    with pytest.raises(UserError, match="D3_Positions with metadata.xml would also do"):
        build(tmp_path / "raw")
    owner.write_metadata(tmp_path / "raw" / "metadata.xml")
    directory = build(tmp_path / "raw")
    train, test = tracks(directory, "train"), tracks(directory, "test")
    assert tuple(train) == S1 and len(test) == 5
    for rows in (*train.values(), *test.values()):
        check(rows, pixels=5e-3, metres=1e-5)
        camera = rows[0]["track"].rpartition(".")[2]
        np.testing.assert_allclose(rows[0]["intrinsics"], owner.INTRINSIC[camera][:4], rtol=1e-6)


def test_the_fitted_camera_is_close_where_the_lens_distorts(raw, build):
    rows = tracks(build(raw), "train")[S1[0]]
    np.testing.assert_allclose(rows[0]["intrinsics"], owner.INTRINSIC["54138969"][:4], rtol=0.03)
    for row in rows:
        assert np.nanmax(np.abs(projected(row) - row["keypoints_2d"][:, :2])) < 5


def test_boxes_come_from_masks_where_there_are_any(own, build):
    rectangles = np.array([[400 + t, 300, 499 + t, 659] for t in range(owner.FRAMES)])
    path = own / "S9/MySegmentsMat/ground_truth_bb/Directions 1.54138969.mat"
    owner.write_masks(path, rectangles[:6], owner.SIZES["54138969"])  # none for frame 10
    found = tracks(build(own), "test")
    for row in found[S9][:2]:
        expected = [449.5 + row["frame"], 479.5, 324, 324]
        np.testing.assert_allclose(row["box"], expected, rtol=1e-6)
    for row in (found[S9][2], *found["S9_Directions_1.60457274"]):
        points = row["keypoints_2d"][row["keypoints_2d"][:, 2] > 0, :2]
        low, high = points.min(0), points.max(0)
        side = 1.1 * (high - low).max()
        np.testing.assert_allclose(row["box"], [*(low + high) / 2, side, side], rtol=1e-5)


@pytest.fixture
def fit():
    """Poses [3 72] in the camera frame, and shape."""
    rng = np.random.default_rng(1)
    pose = rng.normal(0, 0.3, (3, 72))
    pose[:, :3] = [[3.0, 0.1, 0.2], [0.2, 2.9, 0.1], [-1.4, 0.3, 0.1]]
    return pose, rng.normal(0, 1, 10)


def same_rotations(rotvec, expected):
    from scipy.spatial.transform import Rotation

    off = Rotation.from_rotvec(rotvec) * Rotation.from_rotvec(expected).inv()
    return off.magnitude().max() < 1e-5


def test_fits_of_mosh(raw, build, tmp_path, fit):
    pose, betas = fit
    owner.write_mosh(tmp_path / "mosh", pose[:2], betas)  # none for frame 10
    found = tracks(build(raw, mosh=str(tmp_path / "mosh")), "train")
    rows = found[S1[0]]
    assert [row["has_smpl"] for row in rows] == [True, True, False]
    assert same_rotations(stacked(rows, "pose")[:2, :3], pose[:2, :3])
    np.testing.assert_allclose(stacked(rows, "pose")[:2, 3:], pose[:2, 3:], rtol=1e-5)
    np.testing.assert_allclose(rows[0]["shape"], betas, rtol=1e-5)
    assert not any(row["has_smpl"] for row in found[S1[1]])


def test_fits_of_mosh_to_every_frame_are_refused(raw, build, tmp_path, fit):
    owner.write_mosh(tmp_path / "mosh", np.tile(fit[0], (4, 1))[: owner.FRAMES], fit[1])
    with pytest.raises(UserError, match="has 11 poses for every fifth of 11 frames"):
        build(raw, mosh=str(tmp_path / "mosh"))


def test_fits_of_neural_annot(own, build, tmp_path, fit):
    from scipy.spatial.transform import Rotation

    pose, shape = fit
    owner.write_neural_annot(tmp_path / "fits", pose, shape)
    with pytest.raises(UserError, match="needs metadata.xml"):
        build(own, neural_annot=str(tmp_path / "fits"))
    owner.write_metadata(own / "metadata.xml")
    found = tracks(build(own, neural_annot=str(tmp_path / "fits")), "train")
    for camera, name in zip(owner.CAMERAS, S1):
        rows = found[name]
        assert all(row["has_smpl"] for row in rows)
        expected = Rotation.from_matrix(owner.rotation(camera)) * Rotation.from_rotvec(pose[:, :3])
        assert same_rotations(stacked(rows, "pose")[:, :3], expected.as_rotvec())
        np.testing.assert_allclose(rows[1]["shape"], shape, rtol=1e-5)


def test_fits_of_spin(raw, build, tmp_path):
    owner.write_spin(tmp_path / "h36m_train.npz", owner.truth("S1", "54138969"))
    found = tracks(build(raw, spin=str(tmp_path / "h36m_train.npz")), "train")
    rows = found[S1[0]]
    assert [row["has_smpl"] for row in rows] == [True, True, False]
    np.testing.assert_allclose(stacked(rows, "pose")[:, 3], [0, 0.5, 0])
    assert not any(row["has_smpl"] for row in found[S1[1]])
    with pytest.raises(UserError, match="choose one of"):
        build(raw, spin="a", mosh="b")


@pytest.mark.parametrize("kind", ["mosh", "neural_annot"])
def test_a_folder_without_fits_is_reported(own, build, tmp_path, kind):
    owner.write_metadata(own / "metadata.xml")
    with pytest.raises(UserError, match=f"below {tmp_path}, and so no SMPL labels"):
        build(own, **{kind: str(tmp_path)})


def test_hostile_fits_are_not_run(raw, build, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/was_here",)

    (tmp_path / "mosh/S1").mkdir(parents=True)
    with open(tmp_path / "mosh/S1/Directions 1_cam0_aligned.pkl", "wb") as file:
        pickle.dump({"new_poses": Hostile()}, file, protocol=2)
    with pytest.raises(UserError, match=r"aligned\.pkl asks to construct"):
        build(raw, mosh=str(tmp_path / "mosh"))
    assert not (tmp_path / "was_here").exists()


CDF = "S1/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf"


def shorten(folder):
    owner.write_cdf(folder / CDF, owner.truth("S1", "54138969").pixels[:-1])


def truncate(folder):
    (folder / CDF).write_bytes((folder / CDF).read_bytes()[:500])


def wrong_joints(folder):
    owner.write_cdf(folder / CDF, owner.truth("S1", "54138969").pixels[:, :17])


def scaled(folder):
    images = [np.zeros((500, 500, 3), np.uint8)] * 3
    owner.write_video(folder / "S1/Videos/Directions 1.54138969.mp4", images, 50)


def no_video(folder):
    (folder / "S1/Videos/Directions 1.54138969.mp4").write_bytes(b"not logged in")


def other_metadata(folder):
    (folder / "metadata.xml").write_text("<a><w0>[1 2 3]</w0></a>")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (shorten, r"D2_Positions/Directions 1.54138969.cdf has 10 frames and .* 11"),
        (truncate, r"Directions 1.54138969.cdf cannot be read as a CDF file"),
        (wrong_joints, r"Directions 1.54138969.cdf: Pose is \[11, 34\]"),
        (scaled, r"54138969.mp4 has 500x500 pixels, but its labels are for 1000x1000 or 1000x1002"),
        (no_video, r"54138969.mp4 cannot be read as a video"),
        (other_metadata, r"metadata.xml is not Human3.6M's"),
    ],
)
def test_a_wrong_source_is_named(own, build, tmp_path, spoil, message):
    spoil(own)
    with pytest.raises(UserError, match=message):
        build(own)
    assert not (tmp_path / "data" / "h36m").exists()


def test_what_is_not_there_is_named(raw, build, tmp_path):
    with pytest.raises(UserError, match="does not have Human3.6M's layout"):
        build(tmp_path)
    with pytest.raises(UserError, match="lacks S5/MyPoseFeatures/.* --partial"):
        build(raw, partial=False)


def test_a_missing_image_and_a_short_video_are_counted(own, build):
    owner.write(own, extracted=True)
    for subject in owner.RECORDINGS:
        shutil.rmtree(own / subject / "Videos", ignore_errors=True)
    (own / "images" / "S1_Directions_1.54138969_000006.jpg").unlink()
    directory = build(own)
    rows = tracks(directory, "train")[S1[0]]
    assert [row["frame"] for row in rows] == [0, 10]
    check(rows)
    assert "1 left out: missing image" in prepare.summary(directory)
