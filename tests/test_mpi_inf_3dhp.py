"""datasets/mpi_inf_3dhp: files in the owner's formats become records with the ground truth."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import raw_dots
import raw_mpi_inf_3dhp as owner
from built_dataset import image, keypoint, labelled, projected, stacked, tracks
from raw_person import AS_KEYPOINTS

from maed_jax.data import prepare, schema
from maed_jax.errors import UserError

LIMBS = {side + joint for side in "lr" for joint in
         ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")}  # fmt: skip
KNOWN = LIMBS | {"neck", "headtop", "hip", "Spine (H36M)", "Head (H36M)"}


@pytest.fixture
def build(monkeypatch, tmp_path):
    from maed_jax.datasets.mpi_inf_3dhp import annotations

    monkeypatch.setitem(annotations.RECORDINGS, "S1/Seq1", (owner.FRAMES, 25))

    options = {"config": "frames", "partial": True, "cameras": (0, 1, 8)}
    return raw_dots.builds(monkeypatch, "mpi_inf_3dhp", tmp_path / "data", **options)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder with the raw data, and the ground truth."""
    folder = tmp_path_factory.mktemp("3dhp")
    return folder, owner.write(folder)


@pytest.fixture
def own(raw, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(raw[0], tmp_path / "raw"))


def check(rows, truth, joints, names=AS_KEYPOINTS, scale=1.0):
    """Every joint, by name, in 2D and 3D."""
    frames = [row["frame"] for row in rows]
    for name in labelled(rows):
        (own_name,) = (key for key in joints if names.get(key) == name)
        at = joints.index(own_name)
        np.testing.assert_allclose(
            keypoint(rows, name)[:, :2], truth.pixels[frames, at], atol=2e-3, err_msg=name
        )
        np.testing.assert_allclose(
            keypoint(rows, name, "keypoints_3d")[:, :3], truth.points[frames, at] * scale, atol=1e-5
        )


def test_training_sequences(raw, build):
    folder, truths = raw
    directory = build(folder)
    found = tracks(directory, "train")
    assert list(found) == [f"S1_Seq1_video_{camera}" for camera in (0, 1, 8)]
    for camera, rows in zip((0, 1, 8), found.values()):
        inside = [t for t in range(owner.FRAMES) if (camera, t) != (8, owner.OUTSIDE)]
        assert [row["frame"] for row in rows] == inside, "only as many rows as frames count"
        assert labelled(rows) == labelled(rows, "keypoints_3d") == KNOWN
        check(rows, truths[camera], owner.TRAIN_JOINTS)
        np.testing.assert_allclose(stacked(rows, "intrinsics") - owner.INTRINSICS, 0, atol=1e-4)
        assert {row["frame_rate"] for row in rows} == {25}
        assert not any(row["has_smpl"] for row in rows) and all(row["has_3d"] for row in rows)
        for row in rows:
            off = projected(row) - row["keypoints_2d"][:, :2]
            assert np.nanmax(np.abs(off)) < 0.01
            # Exactly this frame's image, and the right position in it.
            red, column = image(row)[0, 0, 0], keypoint([row], "lwrist")[0, :2]
            assert abs(int(red) - 40 - owner.SHADE * row["frame"]) < 4
            x, y = np.rint(column).astype(int)
            assert image(row)[y, x].min() > 150
    left, right = (keypoint(found["S1_Seq1_video_0"], side + "wrist") for side in "lr")
    assert (left[:, 0] > right[:, 0]).all() and (left[:, 1] < right[:, 1]).all(), "it is raised"
    assert "1 left out: a joint outside the image" in prepare.summary(directory)


def test_boxes_are_squares_around_the_joints(raw, build):
    for row in tracks(build(raw[0]), "train")["S1_Seq1_video_0"]:
        points = row["keypoints_2d"][row["keypoints_2d"][:, 2] > 0, :2]
        low, high = points.min(0), points.max(0)
        side = 1.1 * (high - low).max()
        np.testing.assert_allclose(row["box"], [*(low + high) / 2, side, side], rtol=1e-5)


def test_the_test_set_is_complete(raw, build):
    folder, truths = raw
    directory = build(folder)
    found = tracks(directory, "test")
    assert [track.subset for track in schema.read_tracks(directory, "test")] == ["TS1", "TS5"]
    for name, rows in found.items():
        assert [(row["frame"], row["valid"]) for row in rows] == [(0, 1), (1, 0), (2, 1)]
        assert labelled(rows) == KNOWN
        check(rows, truths[name], owner.TEST_JOINTS, scale=1.1)
        width, height = owner.TEST_SIZES[name]
        expected = [height * 1.1, height * 1.1, width / 2, height / 2]
        np.testing.assert_allclose(rows[0]["intrinsics"], expected, rtol=1e-3)
        assert abs(int(image(rows[2])[0, 0, 0]) - 40 - 2 * owner.SHADE) < 4


def test_frames_that_nobody_is_labelled_in_keep_their_place(own, build):
    path = own / "mpi_inf_3dhp_test_set/TS1/annot_data.mat"
    with h5py.File(path, "a") as file:
        file["annot2"][1] = 0
        file["annot3"][1] = np.nan
    rows = tracks(build(own), "test")["TS1"]
    assert [(row["frame"], row["valid"]) for row in rows] == [(0, 1), (1, 0), (2, 1)]
    boxes = stacked(rows, "box")
    np.testing.assert_allclose(boxes[1], (boxes[0] + boxes[2]) / 2, rtol=1e-6)


def test_measured_joints_of_the_test_set_project(raw, build):
    for rows in tracks(build(raw[0], test_joints="annot3"), "test").values():
        for row in rows:
            assert np.nanmax(np.abs(projected(row) - row["keypoints_2d"][:, :2])) < 1


def test_spin_calls_the_head_differently(raw, build):
    folder, truths = raw
    names = AS_KEYPOINTS | {"head": "Jaw (H36M)", "headtop": "Head (H36M)", "jaw": None}
    directory = build(folder, head="spin")
    rows = tracks(directory, "train")["S1_Seq1_video_0"]
    assert labelled(rows) == KNOWN - {"headtop"} | {"Jaw (H36M)"}
    check(rows, truths[0], owner.TRAIN_JOINTS, names)
    check(tracks(directory, "test")["TS1"], truths["TS1"], owner.TEST_JOINTS, names, scale=1.1)


def test_fits_of_spin_go_to_the_frames_that_they_are_of(raw, build, tmp_path):
    folder, truths = raw
    owner.write_fits(tmp_path / "spin.npz", truths[0])
    rows = tracks(build(folder, spin=str(tmp_path / "spin.npz")), "train")["S1_Seq1_video_0"]
    assert [row["has_smpl"] for row in rows] == [True] + 5 * [False]
    np.testing.assert_allclose(rows[0]["pose"], 0)
    np.testing.assert_allclose(rows[0]["shape"], 0.5)
    np.savez(tmp_path / "bare.npz", pose=np.zeros((2, 72)), shape=np.zeros((2, 10)))
    with pytest.raises(UserError, match="bare.npz has no fits to images with"):
        build(folder, spin=str(tmp_path / "bare.npz"), overwrite=True)


def test_frames_can_be_thinned(raw, build):
    rows = tracks(build(raw[0], every=2), "train")["S1_Seq1_video_0"]
    assert [row["frame"] for row in rows] == [0, 2, 4]
    assert abs(int(image(rows[2])[0, 0, 0]) - 40 - 4 * owner.SHADE) < 4


def test_the_video_that_is_cut_short_is_left_out(own, build):
    other = own / "S6" / "Seq2"
    shutil.copytree(own / "S1" / "Seq1", other)
    (other / "imageSequence" / "video_0.avi").rename(other / "imageSequence" / "video_2.avi")
    directory = build(own, cameras=(0, 2))
    assert list(tracks(directory, "train")) == ["S1_Seq1_video_0"]
    assert "6145 left out: video known to be cut short" in prepare.summary(directory)


def test_single_frames_at_fault_are_counted(own, build):
    frames = own / "S1" / "Seq1" / "imageFrames" / "video_8"
    (frames / "frame_000002.jpg").unlink()
    data = (frames / "frame_000003.jpg").read_bytes()
    (frames / "frame_000003.jpg").write_bytes(data[: len(data) // 2])
    found = tracks(build(own, cameras=(8,)), "train")["S1_Seq1_video_8"]
    assert [row["frame"] for row in found] == [0, 3, 5], "and the others keep their labels"
    for row in found:
        assert abs(int(image(row)[0, 0, 0]) - 40 - owner.SHADE * row["frame"]) < 4


def test_a_video_shorter_than_its_labels(own, build):
    images = [np.full((owner.SIZE, owner.SIZE, 3), 90, np.uint8)] * 4
    path = own / "S1" / "Seq1" / "imageSequence" / "video_0.avi"
    owner.write_video(path, images, 25, "ffv1", pix_fmt="bgr0")
    directory = build(own, cameras=(0,))
    assert len(tracks(directory, "train")["S1_Seq1_video_0"]) == 4
    assert "2 left out: missing image" in prepare.summary(directory)


def spoil_calibration(folder):
    (folder / "S1/Seq1/camera.calibration").write_text("not logged in")


def enlarge_calibration(folder):
    text = "name 0\n  size inf 48\n  intrinsic" + 16 * " 1"
    (folder / "S1/Seq1/camera.calibration").write_text(text)


def spoil_annotation(folder):
    path = folder / "S1/Seq1/annot.mat"
    path.write_bytes(path.read_bytes()[:30000])


def scale_video(folder):
    images = [np.zeros((48, 48, 3), np.uint8)] * 6
    path = folder / "S1/Seq1/imageSequence/video_0.avi"
    owner.write_video(path, images, 25, "ffv1", pix_fmt="bgr0")


def scale_images(folder):
    for path in (folder / "mpi_inf_3dhp_test_set/TS5/imageSequence").iterdir():
        owner.write_image(path, owner.draw_image(960, 540))


def shorten_test_labels(folder):
    with h5py.File(folder / "mpi_inf_3dhp_test_set/TS1/annot_data.mat", "a") as file:
        valid = file["valid_frame"][1:]
        del file["valid_frame"]
        file["valid_frame"] = valid


@pytest.mark.parametrize(
    "spoil, message",
    [
        (spoil_calibration, "camera.calibration has no camera 0"),
        (enlarge_calibration, "camera.calibration has no camera 0"),
        (spoil_annotation, "annot.mat cannot be read as a MATLAB file"),
        (scale_video, "video_0.avi has 48x48 pixels, but its labels are for 96x96"),
        (scale_images, "img_000001.jpg has 960x540 pixels, but its labels are for 1920x1080"),
        (shorten_test_labels, "TS1/annot_data.mat: the fields have different numbers"),
    ],
)
def test_a_wrong_source_is_named(own, build, tmp_path, spoil, message):
    spoil(own)
    with pytest.raises(UserError, match=message):
        build(own)
    assert not (tmp_path / "data" / "mpi_inf_3dhp").exists()


def test_what_is_not_there_is_named(own, build, tmp_path):
    with pytest.raises(UserError, match="does not have MPI-INF-3DHP's layout"):
        build(tmp_path)
    with pytest.raises(UserError, match="lacks S1/Seq2/annot.mat, .* --partial"):
        build(own, partial=False)
    with pytest.raises(UserError, match="S1/Seq1/imageSequence/video_5.avi"):
        build(own, partial=False, cameras=(5,))
