"""Writes tiny COCO, MPII and LSP-Extended in their owners' formats, and fits by EFT and SPIN."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import raw_dots
import scipy.io
from scipy.spatial.transform import Rotation

from maed_jax.body.skeleton import KEYPOINT_NAMES

COCO_ORDER = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
MPII_ORDER = (
    "rankle", "rknee", "rhip", "lhip", "lknee", "lankle", "hip", "thorax", "neck", "headtop",
    "rwrist", "relbow", "rshoulder", "lshoulder", "lelbow", "lwrist",
)  # fmt: skip
LSP_ORDER = (
    "rankle", "rknee", "rhip", "lhip", "lknee", "lankle",
    "rwrist", "relbow", "rshoulder", "lshoulder", "lelbow", "lwrist", "neck", "headtop",
)  # fmt: skip


def person(x: float = 80, y: float = 30, height: float = 100) -> dict[str, tuple[float, float]]:
    """Returns joints by name, in pixels, whole numbers as in manual annotations."""
    joints = raw_dots.person(x, y, height)
    joints |= {"hip": (x, y + 0.3 * height), "thorax": (x, y)}
    return {name: (round(a), round(b)) for name, (a, b) in joints.items()}


def _save(path: Path, joints: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw_dots.jpeg(raw_dots.draw(joints)))


# --- COCO -----------------------------------------------------------------------------------------


def write_coco(folder: Path) -> Path:
    """Writes COCO. Train: annotations 11 (whole), 12 (three keypoints) and 13 (a crowd) in one
    image, and 14, whose left wrist is hidden, in another; validation: 21."""
    hidden = coco_annotation(14, 2, person(70, 26, 110))
    hidden["keypoints"][3 * COCO_ORDER.index("left_wrist") + 2] = 1
    few = coco_annotation(12, 1, {name: person()[name] for name in ("nose", "lhip", "rhip")})
    crowd = coco_annotation(13, 1, person()) | {"iscrowd": 1}
    train = [hidden, crowd, few, coco_annotation(11, 1, person())]
    write_coco_json(folder, "train2014", {1: person(), 2: person(70, 26, 110)}, train)
    validation = [coco_annotation(21, 3, person(90))]
    write_coco_json(folder, "val2014", {3: person(90)}, validation)
    return folder


def write_coco_json(folder: Path, part: str, images: dict, annotations: list[dict]) -> None:
    for number, joints in images.items():
        _save(folder / part / coco_name(part, number), joints)
    content = {
        "info": {},
        "images": [{"id": n, "file_name": coco_name(part, n), "height": 120, "width": 160}
                   for n in images],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": COCO_ORDER, "skeleton": []}],
    }  # fmt: skip
    path = folder / "annotations" / f"person_keypoints_{part}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def coco_name(part: str, number: int) -> str:
    return f"COCO_{part}_{number:012d}.jpg"


def coco_annotation(number: int, image: int, joints: dict) -> dict:
    keypoints = []
    for name in COCO_ORDER:
        x, y = joints.get(name.replace("left_", "l").replace("right_", "r"), (0, 0))
        keypoints += [x, y, 2 if x else 0]
    low, high = (f(list(joints.values()), 0) for f in (np.min, np.max))
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 1.0,
        "segmentation": [[1, 2, 3, 4, 5, 6]], "keypoints": keypoints,
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "bbox": [*(low - 6.0).tolist(), *(high - low + 12.0).tolist()],
    }  # fmt: skip


# --- Fits -----------------------------------------------------------------------------------------


def pose(seed: int) -> np.ndarray:
    return Rotation.random(24, random_state=seed).as_rotvec().reshape(72)


def eft(name: str, seed: int, joints: dict | None = None, annotation=None, **changes) -> dict:
    points = np.zeros((49, 3))
    for joint, place in (joints or {}).items():
        points[KEYPOINT_NAMES.index(joint)] = *place, 1
    fit = {
        "parm_pose": Rotation.from_rotvec(pose(seed).reshape(24, 3)).as_matrix().tolist(),
        "parm_shape": np.full(10, 0.1 * seed).tolist(), "parm_cam": [1, 0, 0],
        "bbox_scale": 0.6, "bbox_center": [80, 60], "gt_keypoint_2d": points.tolist(),
        "joint_validity_openpose18": [True] * 18, "smpltype": "smpl",
        "annotId": annotation, "imageName": name,
    }  # fmt: skip
    return fit | changes


def write_eft(path: Path, fits: list[dict]) -> Path:
    path.write_text(json.dumps({"ver": 0.1, "data": fits}))
    return path


def write_spin(folder: Path, rows: list[tuple[str, dict, int]]) -> tuple[Path, Path]:
    """Writes SPIN's rows and fits and returns both files; rows: file name, joints, seed."""
    part = np.zeros((len(rows), 24, 3))
    for row, (_, joints, _) in enumerate(rows):
        for joint, place in joints.items():
            part[row, KEYPOINT_NAMES.index(joint, 25) - 25] = *place, 1
    np.savez(
        folder / "rows.npz",
        imgname=np.array([f"images/{name}" for name, *_ in rows]),
        center=np.array([joints["hip"] for _, joints, _ in rows], float),
        scale=np.full(len(rows), 0.6), part=part,
    )  # fmt: skip
    fits = [np.r_[pose(seed), np.full(10, 0.1 * seed)] for *_, seed in rows]
    np.save(folder / "fits.npy", np.array(fits))
    return folder / "rows.npz", folder / "fits.npy"


# --- MPII -----------------------------------------------------------------------------------------


def mpii_objpos(joints: dict, scale: float) -> np.ndarray:
    """Returns objpos such that the box is around the middle of the joints."""
    middle = np.mean([np.min(list(joints.values()), 0), np.max(list(joints.values()), 0)], 0)
    return middle - [0, 15 * scale]


def mpii_rect(joints: dict, scale: float = 0.6) -> dict:
    """Makes a person as in RELEASE, with `is_visible` in all variants that occur."""
    ways = (np.uint8([[1]]), np.zeros((0, 0)), "0", "1", np.float64([[0]]))
    points = [
        {"x": float(joints[name][0]), "y": float(joints[name][1]), "id": float(i),
         "is_visible": ways[i % len(ways)]}
        for i, name in enumerate(MPII_ORDER)
        if name in joints
    ]  # fmt: skip
    x, y = mpii_objpos(joints, scale)
    return {
        "x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0, "annopoints": {"point": _structs(points)},
        "scale": scale, "objpos": {"x": float(x), "y": float(y)},
    }  # fmt: skip


def write_mpii(folder: Path) -> Path:
    """Writes MPII with images a (one person), b (two: one with six joints, one without position), c
    (held out by some) and d (the owner's test: no joints)."""
    six = {name: person()[name] for name in MPII_ORDER[:7]}
    nowhere = mpii_rect(person()) | {"scale": np.zeros((0, 0)), "objpos": np.zeros((0, 0))}
    test = {"scale": 0.5, "objpos": {"x": 1.0, "y": 2.0}}
    people = {
        "a": [mpii_rect(person())],
        "b": [mpii_rect(six), nowhere],
        "c": [mpii_rect(person(70))],
        "d": [test],
        "e": [],
    }
    for name, joints in {"a": person(), "b": person(), "c": person(70), "d": person()}.items():
        _save(folder / "images" / f"{name}.jpg", joints)
    annolist = [
        {"image": {"name": f"{name}.jpg"}, "annorect": _structs(rects), "vididx": 1.0}
        for name, rects in people.items()
    ]
    write_release(folder, annolist, [[1, 1, 1, 0, 1]])
    return folder


def write_release(folder: Path, annolist: list[dict], to_train) -> None:
    release = {"annolist": _structs(annolist), "img_train": np.uint8(to_train), "version": "12"}
    scipy.io.savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})


def _structs(rows: list[dict]) -> np.ndarray:
    """Makes a MATLAB array of structs [1 n]."""
    if not rows:
        return np.zeros((0, 0))
    fields = [(name, object) for name in rows[0]]
    array = np.empty((1, len(rows)), fields)
    for i, row in enumerate(rows):
        array[0, i] = tuple(row[name] for name in rows[0])
    return array


def write_newell(path: Path, people: list[tuple[str, dict]], scale: float = 0.6, **changes) -> Path:
    """Writes Newell's table; people: file name, joints (missing ones are at 0, 0)."""
    part = np.array([[joints.get(name, (0, 0)) for name in MPII_ORDER] for _, joints in people])
    places = np.array([mpii_objpos(joints, scale) for _, joints in people])
    fields = {
        "imgname": np.array([name.encode() for name, _ in people], "S13"),
        "part": part.astype(float), "visible": np.ones(part.shape[:2]),
        "center": places + [0, 15 * scale], "scale": np.full(len(people), 1.25 * scale),
        "person": np.arange(len(people), dtype=float), "index": np.zeros(len(people)),
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, values in (fields | changes).items():
            if values is not None:
                file[name] = values
    return path


# --- LSP-Extended ---------------------------------------------------------------------------------


def write_lspet(folder: Path, high: bool = False) -> Path:
    """Writes two images; in the second, the left wrist is hidden, with negative coordinates.

    high: like HR-LSPET, twice as large and with a gap in the numbering.
    """
    zoom = 2 if high else 1
    people = [person(), person(70)]
    joints = np.array([[[x * zoom, y * zoom, 1] for x, y in (p[name] for name in LSP_ORDER)]
                       for p in people], float)  # fmt: skip
    joints[1, LSP_ORDER.index("lwrist")] = -30, -8, 0
    names = ("im00001.png", "im00003.png") if high else ("im00001.jpg", "im00002.jpg")
    for name, someone in zip(names, people):
        image = raw_dots.draw(someone).repeat(zoom, 0).repeat(zoom, 1)
        path = folder / ("" if high else "images") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if high:
            import cv2

            cv2.imwrite(str(path), image[..., ::-1])
        else:
            path.write_bytes(raw_dots.jpeg(image))
    scipy.io.savemat(folder / "joints.mat", {"joints": joints.transpose(1, 2, 0)})
    return folder
