"""Writes Human3.6M in its owner's layout: short recordings of three subjects by two cameras."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import python2
from cdflib.cdfwrite import CDF
from raw_person import draw_image, person, write_image
from scipy.spatial.transform import Rotation
from small_videos import write_video

FRAMES = 11
SHADE = 15  # how much redder each frame is than the previous one
CAMERAS = {"54138969": 0, "60457274": 3}  # name -> index in the owner's list
SIZES = {"54138969": (1000, 1002), "60457274": (1000, 1000)}
# The owner's 32 joints; many coincide.
JOINTS = (
    "hip", "rhip", "rknee", "rankle", "rfoot", "rtoe", "lhip", "lknee", "lankle", "lfoot", "ltoe",
    "hip", "spine", "neck", "jaw", "head",
    "neck", "lshoulder", "lelbow", "lwrist", "lwrist", "lhand", "lhand", "lhand",
    "neck", "rshoulder", "relbow", "rwrist", "rwrist", "rhand", "rhand", "rhand",
)  # fmt: skip
RECORDINGS = {  # subject -> actions
    "S1": ("Directions 1",),
    "S9": ("Greeting", "Directions 1"),
    "S11": ("Directions",),
}
# Angles about x, y and z and the position in mm (z up); then fx, fy, cx, cy, k1, k2, k3, p1, p2.
EXTRINSIC = {
    "54138969": (np.pi / 2 + 0.1, 0.05, 0.2, -850, -4400, 1400),
    "60457274": (np.pi / 2 + 0.1, -0.03, -1.0, 3800, -2450, 1500),
}
INTRINSIC = {
    "54138969": (1145, 1144, 512, 515, -0.2, 0.24, -0.003, -0.0014, 0.001),
    "60457274": (1146, 1145, 515, 501, 0, 0, 0, 0, 0),
}


@dataclasses.dataclass
class Truth:
    points: np.ndarray
    """[t 32 3] metres, camera frame"""
    pixels: np.ndarray
    """[t 32 2]"""
    world: np.ndarray
    """[t 32 3] metres, z up"""


def truth(subject: str, camera: str) -> Truth:
    """Returns what all recordings of a subject by a camera show."""
    world = person(JOINTS, FRAMES, heading=0.1 * int(subject[1:]))
    world = world[..., [0, 2, 1]] * (1, -1, 1)  # z up
    position = np.array(EXTRINSIC[camera][3:]) / 1000
    points = (world - position) @ rotation(camera).T
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = INTRINSIC[camera]
    x, y = np.moveaxis(points[..., :2] / points[..., 2:], -1, 0)
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    pixels = np.stack(
        [
            fx * (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)) + cx,
            fy * (y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y) + cy,
        ],
        -1,
    )
    return Truth(points, pixels, world)


def rotation(camera: str) -> np.ndarray:
    """Returns the rotation [3 3] from world to camera, composed as in the owner's code."""
    a, b, c = EXTRINSIC[camera][:3]
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def write(folder: Path, *, world_only: bool = False, extracted: bool = False) -> None:
    """Writes the dataset without metadata.xml.

    Args:
      world_only: use h36m-fetch's folder names, and write poses only in the world frame.
      extracted: write images named as by SPIN instead of videos.
    """
    for subject, actions in RECORDINGS.items():
        for action in ("_ALL", *actions):
            for camera in CAMERAS:
                known = truth(subject, camera)
                name = f"{action}.{camera}"
                if world_only:
                    where = folder / subject / "Poses_D3_Positions"
                    write_cdf(where / f"{action}.cdf", known.world * 1000)
                else:
                    where = folder / subject / "MyPoseFeatures"
                    write_cdf(where / "D3_Positions_mono" / f"{name}.cdf", known.points * 1000)
                    write_cdf(where / "D2_Positions" / f"{name}.cdf", known.pixels)
                if action != "_ALL" and (subject, name) != ("S11", "Directions.54138969"):
                    _write_images(folder, subject, action, camera, known, extracted)


def _write_images(folder, subject, action, camera, known, extracted) -> None:
    width, height = SIZES[camera]
    images = [draw_image(width, height, known.pixels[t], SHADE * t) for t in range(FRAMES)]
    if not extracted:
        path = folder / subject / "Videos" / f"{action}.{camera}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, images, 50, options={"preset": "ultrafast", "crf": "12"})
        return
    for t in range(0, FRAMES, 5):
        name = f"{subject}_{action.replace(' ', '_')}.{camera}_{t + 1:06d}.jpg"
        write_image(folder / "images" / name, images[t])


def write_cdf(path: Path, values: np.ndarray) -> None:
    """Writes the variable Pose, float32, with all frames in one record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    flat = values.reshape(len(values), -1).astype(np.float32)
    file = CDF(str(path), cdf_spec={"Compressed": 0})
    spec = {"Variable": "Pose", "Data_Type": CDF.CDF_REAL4, "Num_Elements": 1, "Rec_Vary": True,
            "Dim_Sizes": list(flat.shape), "Compress": 0}  # fmt: skip
    file.write_var(spec, var_data=flat[None])
    file.close()


def write_metadata(path: Path) -> None:
    """Writes metadata.xml with cameras and the names of recordings."""
    extrinsic = np.zeros((4, 11, 6))
    intrinsic = np.ones((4, 9))
    for camera, place in CAMERAS.items():
        extrinsic[place] = EXTRINSIC[camera]
        intrinsic[place] = INTRINSIC[camera]
    numbers = " ".join(repr(float(v)) for v in np.r_[extrinsic.ravel(), intrinsic.ravel()])
    subjects = [f"S{i + 1}" for i in range(11)]
    table = [["Action", "subaction", *subjects]]
    for action, names in enumerate((("_ALL 1", "_ALL"), ("Directions 1", "Directions"),
                                    ("Greeting 1", "Greeting"))):  # fmt: skip
        for subaction, name in enumerate(names):
            table.append([str(action + 1), str(subaction + 1), *[name] * 11])
    table.append(["Action", "subaction", *["Somebody"] * 11])
    rows = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in table)
    ids = "".join(f"<item>{i}</item>" for i in ("54138969", "55011271", "58860488", "60457274"))
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<a><mapping>{rows}</mapping>'
        f"<w0>[{numbers}]</w0><dbcameras><index2id>{ids}</index2id></dbcameras></a>"
    )


def write_masks(path: Path, rectangles: np.ndarray, size: tuple[int, int]) -> None:
    """Writes the owner's rectangles [t 4] (left, top, right, bottom, inclusive) as masks, v7.3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = np.empty((len(rectangles), 1), h5py.ref_dtype)
        for t, (left, top, right, bottom) in enumerate(rectangles):
            mask = np.zeros((width, height), np.uint8)  # MATLAB's columns are HDF5's rows
            mask[left : right + 1, top : bottom + 1] = 1
            cells[t, 0] = file.create_dataset(f"#refs#/{t}", data=mask, compression=1).ref
        file["Masks"] = cells


def write_mosh(folder: Path, pose: np.ndarray, betas: np.ndarray) -> None:
    """Writes MoSh's fit to S1's recording by camera 54138969: poses [n 72] in the camera frame."""
    upside_down = Rotation.from_rotvec(pose[:, :3]) * Rotation.from_euler("x", -np.pi)
    path = folder / "S1" / "Directions 1_cam0_aligned.pkl"
    path.parent.mkdir(parents=True)
    poses = np.c_[upside_down.as_rotvec(), pose[:, 3:]]
    python2.dump({"new_poses": poses, "betas": betas, "trans": np.zeros((len(pose), 3))}, path)


def write_neural_annot(folder: Path, pose: np.ndarray, shape: np.ndarray) -> None:
    """Writes NeuralAnnot's fit to S1's recording: poses [n 72] of frames 0, 5 ..., world frame."""
    folder.mkdir(exist_ok=True)
    fits = {str(5 * i): {"pose": p.tolist(), "shape": shape.tolist(), "trans": [0, 0, 0]}
            for i, p in enumerate(pose)}  # fmt: skip
    path = folder / "Human36M_subject1_SMPL_NeuralAnnot.json"
    path.write_text(json.dumps({"2": {"1": fits}}))
    cameras = {}
    for camera, place in CAMERAS.items():
        turn = rotation(camera)
        cameras[str(place + 1)] = {
            "R": turn.tolist(), "t": (-turn @ EXTRINSIC[camera][3:]).tolist(),
            "f": list(INTRINSIC[camera][:2]), "c": list(INTRINSIC[camera][2:4]),
        }  # fmt: skip
    (folder / "Human36M_subject1_camera.json").write_text(json.dumps(cameras))


def write_spin(path: Path, known: Truth, camera: str = "54138969") -> None:
    """Writes SPIN's rows for frames 0, 5 and 10 of S1's recording; the last has the keypoints of
    another frame."""
    frames = [0, 5, 10]
    limbs = ("rankle", "rknee", "rhip", "lhip", "lknee", "lankle",
             "rwrist", "relbow", "rshoulder", "lshoulder", "lelbow", "lwrist")  # fmt: skip
    part = np.zeros((3, 24, 3))
    part[:, :12, :2] = known.pixels[frames][:, [JOINTS.index(name) for name in limbs]]
    part[2, :12, 0] += 30
    np.savez(
        path, part=part, pose=np.array(frames)[:, None] / 10 + np.zeros((3, 72)),
        shape=np.full((3, 10), 0.5), center=np.zeros((3, 2)), scale=np.ones(3),
        imgname=[f"S1_Directions_1.{camera}_{frame + 1:06d}.jpg" for frame in frames],
    )  # fmt: skip
