"""Reads SMPL labels made by others for datasets that come without them.

The formats are EFT's .json, SPIN's .npz and .npy, MoSh's .pkl, and NeuralAnnot's .json (in
`neural_annot`). Every reader returns arrays in one convention: `pose` [n 72] axis-angle in radians,
joints in SMPL's order, the root first; `shape` [n 10] betas of the neutral SMPL body; float32. The
root is in the frame of the image's camera (x right, y down, z forward) unless a reader says
otherwise. Nothing in a file is executed: no pickle but MoSh's is opened, and that with an
allow-list.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError, reason
from maed_jax.files.numpy import open_npz, read_npy
from maed_jax.files.unpickle import restricted_load

from . import checked

# --- EFT ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Eft:
    """EFT's fits (Joo et al., 3DV 2021), one row per person."""

    image: tuple[str, ...]
    """file names without folders"""
    annotation: np.ndarray
    """[n] int64, COCO's annotation id; -1 if the file has none (all but COCO's)"""
    pose: np.ndarray
    """[n 72]; the root in the frame of the crop's weak-perspective camera"""
    shape: np.ndarray
    """[n 10]"""
    box: np.ndarray
    """[n 4] centre x, centre y, width, height of the square crop, pixels of the image"""
    keypoints_2d: np.ndarray
    """[n 49 3] x, y in pixels of the image, confidence; zeros if the file has none"""


def read_eft(path: str | Path) -> Eft:
    """Reads a file such as COCO2014-All-ver01.json, MPII_ver01.json or LSPet_ver01.json.

    Raises:
      UserError: the file is missing or has another structure, or a fit has a wrong field.
    """
    # Numbers become arrays while the file is parsed, which saves most of the memory.
    parse_fit = _EftFit(path)
    content = checked.read_json(path, object_hook=parse_fit)
    fits = content.get("data") if isinstance(content, dict) else None
    if not isinstance(fits, list) or not fits or parse_fit.count != len(fits):
        raise UserError(f'{path} is not an EFT file: it has no list "data" of fits')
    array = {name: np.stack([each[name] for each in fits]) for name in parse_fit.FIELDS}
    matrices = array["parm_pose"]
    error = np.abs(matrices @ matrices.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
    invalid = np.argwhere((error > 1e-2) | (np.linalg.det(matrices) < 0))
    if len(invalid):
        raise UserError(
            f"{path}, fit {invalid[0, 0]}: parm_pose of joint {invalid[0, 1]} is not a rotation"
        )
    pose = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 72)
    side = array["bbox_scale"][:, None] * 200
    return Eft(
        image=tuple(each["imageName"] for each in fits),
        annotation=np.array([each["annotId"] for each in fits], np.int64),
        pose=pose.astype(np.float32),
        shape=array["parm_shape"].astype(np.float32),
        box=np.concatenate([array["bbox_center"], side, side], -1).astype(np.float32),
        keypoints_2d=array["gt_keypoint_2d"].astype(np.float32),
    )


class _EftFit:
    """Called with each JSON object of a file; converts fits to arrays and counts them."""

    FIELDS = {
        "parm_pose": (24, 3, 3), "parm_shape": (10,),
        "bbox_scale": (), "bbox_center": (2,), "gt_keypoint_2d": (49, 3),
    }  # fmt: skip

    def __init__(self, path: str | Path):
        self.path, self.count = path, 0

    def __call__(self, item: dict) -> dict:
        if "parm_pose" not in item:
            return item
        where = f"{self.path}, fit {self.count}"
        self.count += 1
        if item.get("smpltype", "smpl") != "smpl":
            raise UserError(f"{where}: smpltype is {item['smpltype']!r}; only smpl is supported")
        item.setdefault("gt_keypoint_2d", np.zeros((49, 3)))
        fit = {
            name: checked.numbers(item.get(name), shape, where, name, any_layout=len(shape) < 2)
            for name, shape in self.FIELDS.items()
        }
        name, annotation = item.get("imageName"), item.get("annotId")
        if not isinstance(name, str) or not name:
            raise UserError(f"{where}: imageName is {name!r}, not a file name")
        try:
            annotation = -1 if annotation is None else int(annotation)
        except (TypeError, ValueError):
            raise UserError(f"{where}: annotId is {annotation!r}, not a number") from None
        return fit | {"imageName": _file_name(name), "annotId": annotation}


# --- SPIN -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spin:
    """SPIN's rows (Kolotouros et al., ICCV 2019); fields that the file lacks are None."""

    pose: np.ndarray
    """[n 72]"""
    shape: np.ndarray
    """[n 10]"""
    has_smpl: np.ndarray
    """[n] bool: pose and shape are labels; false if the file says so, has none, or has NaN"""
    imgname: tuple[str, ...] | None = None
    """file names as SPIN wrote them, relative to the dataset's folder"""
    center: np.ndarray | None = None
    """[n 2] centre of the square crop, pixels"""
    part: np.ndarray | None = None
    """[n 24 3] keypoints 25 to 48 of the 49: x, y in pixels, confidence"""


_SPIN_FIELDS = {"pose": (72,), "shape": (10,), "has_smpl": (), "center": (2,), "part": (24, 3)}
_FIT_FIELDS = ("pose", "shape", "has_smpl")


def read_spin(path: str | Path, fits: str | Path | None = None) -> Spin:
    """Reads SPIN's rows, with or without fits.

    Args:
      path: dataset_extras/*.npz or h36m_train.npz (rows, some with pose and shape),
        mpi-inf-3dhp_mview_fits.npz (only fits) or static_fits/*.npy (only fits, [n 82]).
      fits: a second file with the fits for the rows of `path`: row i belongs to row i.

    Raises:
      UserError: a file is missing, a field has the wrong form, or the fields' lengths differ.
    """
    files, arrays = str(path), _read_numpy(path)
    if fits is not None:
        files += f" and {fits}"
        fit_arrays = _read_numpy(fits)
        arrays |= {name: fit_arrays[name] for name in _FIT_FIELDS if name in fit_arrays}
    names = arrays.pop("imgname", None)
    arrays = {name: checked.rows(array, _SPIN_FIELDS[name], files, name)
              for name, array in arrays.items()}  # fmt: skip
    if names is not None and (names.dtype.kind not in "US" or names.ndim != 1):
        raise UserError(f"{path}: imgname is {list(names.shape)} of {names.dtype}, not text [n]")
    lengths = {name: len(array) for name, array in arrays.items()}
    lengths |= {} if names is None else {"imgname": len(names)}
    if names is None and "pose" not in arrays:
        raise UserError(f"{path} has neither SPIN's rows nor fits: no imgname and no pose")
    if len(set(lengths.values())) > 1:
        raise UserError(f"the fields of {files} differ in length: {lengths}")
    n = next(iter(lengths.values()))
    labelled = "pose" in arrays and "shape" in arrays
    pose, shape = arrays.pop("pose", np.zeros((n, 72))), arrays.pop("shape", np.zeros((n, 10)))
    finite = (np.isfinite(pose).all(-1) & np.isfinite(shape).all(-1))[:, None]
    return Spin(
        pose=np.where(finite, pose, 0).astype(np.float32),
        shape=np.where(finite, shape, 0).astype(np.float32),
        has_smpl=finite[:, 0] & (arrays.pop("has_smpl", np.ones(n)) > 0) & labelled,
        imgname=None if names is None else tuple(names.astype(str).tolist()),
        **arrays,
    )


def _read_numpy(path: str | Path) -> dict[str, np.ndarray]:
    """Returns SPIN's fields in an .npz, or in an .npy, which has pose and shape side by side."""
    try:
        with open(path, "rb") as file:
            is_npy = file.read(6) == np.lib.format.MAGIC_PREFIX
        if is_npy:
            fits = checked.rows(read_npy(path), (82,), path, "the array of fits")
            return {"pose": fits[:, :72], "shape": fits[:, 72:]}
        with open_npz(path) as content:
            return {name: content[name] for name in ("imgname", *_SPIN_FIELDS) if name in content}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except ValueError as error:
        raise UserError(f"{path} is not a file of plain arrays, or is damaged ({error})") from None


# --- MoSh -----------------------------------------------------------------------------------------


def read_mosh(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads MoSh's fit to a video of Human3.6M, "<Action>_cam<0-3>_aligned.pkl".

    The file's root rotations apply to an upside-down template; the returned ones apply to SMPL's.

    Returns:
      Pose [n 72], row i for frame 5 i of the video, and shape [10].

    Raises:
      UserError: the file is missing, asks for anything but arrays, or has a wrong field.
    """
    content = restricted_load(path, kind="MoSh file")
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is not a MoSh file: it contains a {type(content).__name__}")
    pose = checked.rows(content.get("new_poses"), (72,), path, "new_poses")
    pose = checked.numbers(pose, pose.shape, path, "new_poses")
    shape = checked.numbers(content.get("betas"), (10,), path, "betas", any_layout=True)
    head_down = Rotation.from_rotvec([math.pi, 0, 0])
    pose[:, :3] = (Rotation.from_rotvec(pose[:, :3]) * head_down).as_rotvec()
    return pose.astype(np.float32), shape.astype(np.float32)


# --- All of them ----------------------------------------------------------------------------------


def root_in_camera(pose: np.ndarray, R_camera_world: np.ndarray) -> np.ndarray:
    """Converts poses `[... 72]` from a root in the world frame to the camera frame.

    Args:
      R_camera_world: `[... 3 3]`.

    Returns:
      The poses; NaN where R_camera_world is not a rotation.
    """
    finite = np.isfinite(R_camera_world).all((-2, -1), keepdims=True)
    rotation = np.where(finite, R_camera_world, 0)
    invalid = np.linalg.det(rotation) < 0.5
    rotation[invalid] = np.eye(3)
    root = Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[..., :3])
    in_camera = np.concatenate([root.as_rotvec(), pose[..., 3:]], -1)
    in_camera[invalid] = np.nan
    return in_camera


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
