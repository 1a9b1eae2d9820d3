"""Writes MPI-INF-3DHP in its owner's layout: three cameras of one sequence, two test sequences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from raw_person import camera_at, draw_image, person, write_image
from small_videos import write_video

SIZE = 96
INTRINSICS = np.array([120.0, 122.0, 47.0, 49.0])
ROWS = 8  # of the annotation
FRAMES = 6  # of the video; the annotation is longer
SHADE = 20  # how much redder each frame is than the previous one
OUTSIDE = 4  # the frame in which a hand leaves camera 8's image
# The owner's joints, in the owner's order.
TRAIN_JOINTS = (
    "chest", "upper chest", "belly", "spine", "hip", "neck", "head", "headtop",
    "lclavicle", "lshoulder", "lelbow", "lwrist", "lhand",
    "rclavicle", "rshoulder", "relbow", "rwrist", "rhand",
    "lhip", "lknee", "lankle", "lfoot", "ltoe", "rhip", "rknee", "rankle", "rfoot", "rtoe",
)  # fmt: skip
TEST_JOINTS = (
    "headtop", "neck", "rshoulder", "relbow", "rwrist", "lshoulder", "lelbow", "lwrist",
    "rhip", "rknee", "rankle", "lhip", "lknee", "lankle", "hip", "spine", "head",
)  # fmt: skip
TEST_SIZES = {"TS1": (2048, 2048), "TS5": (1920, 1080)}


@dataclasses.dataclass
class Truth:
    """Joints in the owner's order."""

    points: np.ndarray
    """[t joints 3] metres, camera frame"""
    pixels: np.ndarray
    """[t joints 2]"""


def seen(world: np.ndarray, position, intrinsics, roll: float = 0.0) -> Truth:
    turn, shift = camera_at(position, (0, 1, 0.1), roll)
    points = world @ turn.T + shift
    return Truth(points, points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:])


def write(folder: Path) -> dict:
    """Writes S1/Seq1 with cameras 0 (a video), 1 and 8 (images), and TS1 and TS5.

    Returns:
      The ground truth by camera or test sequence.
    """
    sequence = folder / "S1" / "Seq1"
    (sequence / "imageSequence").mkdir(parents=True)
    world = person(TRAIN_JOINTS, ROWS)
    truths = {0: seen(world, (0.5, 1.4, 4), INTRINSICS), 1: seen(world, (3.5, 1, 2), INTRINSICS),
              8: seen(world, (-1, 2, 3.5), INTRINSICS, roll=0.2)}  # fmt: skip
    truths[8].pixels[OUTSIDE, TRAIN_JOINTS.index("lwrist"), 1] = -3
    write_annotations(sequence / "annot.mat", truths)
    write_calibration(sequence / "camera.calibration")
    images = {
        camera: [draw_image(SIZE, SIZE, truth.pixels[t], SHADE * t) for t in range(ROWS)]
        for camera, truth in truths.items()
    }
    write_video(sequence / "imageSequence" / "video_0.avi", images[0], 25, "ffv1", pix_fmt="bgr0")
    for t in range(ROWS):
        write_image(sequence / "imageFrames" / "video_8" / f"frame_{t + 1:06d}.jpg", images[8][t])
        write_image(sequence / "video_1" / f"{t + 1:06d}.jpg", images[1][t])
    for name in TEST_SIZES:
        truths[name] = write_test(folder / "mpi_inf_3dhp_test_set" / name)
    return truths


def write_annotations(path: Path, truths: dict) -> None:
    """Writes annot.mat, version 5; unused cameras have other numbers."""
    cells = {name: np.empty((14, 1), object) for name in ("annot2", "annot3", "univ_annot3")}
    for camera in range(14):
        truth = truths.get(camera, Truth(np.full((ROWS, 28, 3), 9.0), np.full((ROWS, 28, 2), 9.0)))
        cells["annot2"][camera, 0] = truth.pixels.reshape(ROWS, -1)
        cells["annot3"][camera, 0] = truth.points.reshape(ROWS, -1) * 1000
        cells["univ_annot3"][camera, 0] = truth.points.reshape(ROWS, -1) * 1100
    counts = {"cameras": np.arange(14)[None], "frames": np.arange(ROWS)[:, None]}
    scipy.io.savemat(path, cells | counts)


def write_calibration(path: Path) -> None:
    lines = ["Skeletool Camera Calibration File V1.0"]
    for camera in range(14):
        fx, fy, cx, cy = INTRINSICS if camera in (0, 1, 8) else INTRINSICS + 50
        matrix = [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0, 0, 0, 0, 1]
        lines += [
            f"name          {camera}",
            "  sensor      10 10",
            f"  size        {SIZE} {SIZE}",
            "  animated    0",
            "  intrinsic   " + " ".join(map(str, matrix)) + " ",
            "  extrinsic   " + " ".join(map(str, np.eye(4).ravel())) + " ",
            "  radial      0",
        ]
    path.write_text("\n".join(lines) + "\n")


def write_test(folder: Path, frames: int = 3) -> Truth:
    """Writes annot_data.mat, version 7.3, and images; the middle frame is not valid."""
    width, height = TEST_SIZES[folder.name]
    intrinsics = np.array([height * 1.1, height * 1.1, width / 2, height / 2])
    truth = seen(person(TEST_JOINTS, frames), (0.5, 1.4, 4), intrinsics)
    folder.mkdir(parents=True)
    with h5py.File(folder / "annot_data.mat", "w", userblock_size=512) as file:
        file["annot2"] = truth.pixels[:, None]
        file["annot3"] = truth.points[:, None] * 1000
        file["univ_annot3"] = truth.points[:, None] * 1100
        file["valid_frame"] = np.array([[float(t != 1)] for t in range(frames)])
        file["activity_annotation"] = np.ones((frames, 1))
    for t in range(frames):
        image = draw_image(width, height, shade=SHADE * t)
        write_image(folder / "imageSequence" / f"img_{t + 1:06d}.jpg", image)
    return truth


def write_fits(path: Path, truth: Truth, *, camera: int = 0) -> None:
    """Writes SPIN's rows with fits to frames 0, 2 and 3; the last is marked as having no fit, and
    the one before has the keypoints of another frame."""
    frames = (0, 2, 3)
    part = np.zeros((3, 24, 3))
    limbs = ("rankle", "rknee", "rhip", "lhip", "lknee", "lankle",
             "rwrist", "relbow", "rshoulder", "lshoulder", "lelbow", "lwrist")  # fmt: skip
    columns = [TRAIN_JOINTS.index(name) for name in limbs]
    part[:, :12, :2] = truth.pixels[list(frames)][:, columns]
    part[1, :12, :2] += 9
    np.savez(
        path, part=part, has_smpl=np.array([1, 1, 0]), center=np.zeros((3, 2)), scale=np.ones(3),
        imgname=[f"S1/Seq1/imageFrames/video_{camera}/frame_{t + 1:06d}.jpg" for t in frames],
        pose=np.arange(3)[:, None] + np.zeros((3, 72)), shape=np.full((3, 10), 0.5),
    )  # fmt: skip
