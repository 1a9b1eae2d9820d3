"""Reads the forms in which people have SMPL labels for the datasets that come without.

EFT's .json, SPIN's .npz and .npy, MoSh's .pkl, and NeuralAnnot's .json (`neural_annot`). Every
reader returns arrays in one convention: `pose` [n 72] axis-angle in radians, joints in SMPL's
order, the root first; `shape` [n 10] betas of the neutral SMPL body; float32. The root is in the
frame of the camera that took the picture (x right, y down, z forward) unless a reader says
otherwise. Nothing in a file is executed: no pickle but MoSh's is opened, and that by an allow-list.
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
    """Fits of EFT (Joo et al., 3DV 2021), one row for each person."""

    image: tuple[str, ...]
    """file names without folders"""
    annotation: np.ndarray
    """[n] int64, COCO's annotation id; -1 where the file has none (all but COCO's)"""
    pose: np.ndarray
    """[n 72]; the root as the weak-perspective camera of the crop sees it"""
    shape: np.ndarray
    """[n 10]"""
    camera: np.ndarray
    """[n 3] scale, x, y of that camera"""
    box: np.ndarray
    """[n 4] centre x, centre y, width, height of the square crop, pixels of the picture"""
    keypoints_2d: np.ndarray
    """[n 49 3] x, y in pixels of the picture, confidence; zeros where the file has none"""


def read_eft(path: str | Path) -> Eft:
    """Reads a file such as COCO2014-All-ver01.json, MPII_ver01.json or LSPet_ver01.json.

    Raises:
      UserError: no such file, not of this form, or a fit with a wrong field.
    """
    # Numbers become arrays while the file is parsed, which spares most of the memory.
    fit = _EftFit(path)
    content = checked.read_json(path, object_hook=fit)
    fits = content.get("data") if isinstance(content, dict) else None
    if not isinstance(fits, list) or not fits or fit.count != len(fits):
        raise UserError(f'{path} is not a file of EFT: it has no list "data" of fits')
    array = {name: np.stack([each[name] for each in fits]) for name in fit.FIELDS}
    matrices = array["parm_pose"]
    error = np.abs(matrices @ matrices.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
    wrong = np.argwhere((error > 1e-2) | (np.linalg.det(matrices) < 0))
    if len(wrong):
        raise UserError(
            f"{path}, fit {wrong[0, 0]}: parm_pose of joint {wrong[0, 1]} is not a rotation"
        )
    pose = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 72)
    side = array["bbox_scale"][:, None] * 200
    return Eft(
        image=tuple(each["imageName"] for each in fits),
        annotation=np.array([each["annotId"] for each in fits], np.int64),
        pose=pose.astype(np.float32),
        shape=array["parm_shape"].astype(np.float32),
        camera=array["parm_cam"].astype(np.float32),
        box=np.concatenate([array["bbox_center"], side, side], -1).astype(np.float32),
        keypoints_2d=array["gt_keypoint_2d"].astype(np.float32),
    )


class _EftFit:
    """Takes each JSON object of a file; fits become arrays and are counted."""

    FIELDS = {
        "parm_pose": (24, 3, 3), "parm_shape": (10,), "parm_cam": (3,),
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
            raise UserError(f"{where}: smpltype is {item['smpltype']!r}, and only smpl can be used")
        item.setdefault("gt_keypoint_2d", np.zeros((49, 3)))
        fit = {
            name: checked.numbers(item.get(name), shape, where, name, any_layout=len(shape) < 2)
            for name, shape in self.FIELDS.items()
        }
        name, annotation = item.get("imageName"), item.get("annotId")
        if not isinstance(name, str) or not name:
            raise UserError(f"{where}: imageName is {name!r}, not a file's name")
        try:
            annotation = -1 if annotation is None else int(annotation)
        except (TypeError, ValueError):
            raise UserError(f"{where}: annotId is {annotation!r}, not a number") from None
        return fit | {"imageName": _base(name), "annotId": annotation}


# --- SPIN -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spin:
    """Rows of SPIN (Kolotouros et al., ICCV 2019); fields that the file lacks are None."""

    pose: np.ndarray
    """[n 72]"""
    shape: np.ndarray
    """[n 10]"""
    has_smpl: np.ndarray
    """[n] bool: pose and shape are labels; false where the file says so, has none, or has NaN"""
    imgname: tuple[str, ...] | None = None
    """file names as SPIN wrote them, with the folders below the dataset's own"""
    center: np.ndarray | None = None
    """[n 2] of the square crop, pixels"""
    scale: np.ndarray | None = None
    """[n] its side in units of 200 pixels"""
    part: np.ndarray | None = None
    """[n 24 3] keypoints 25 to 48 of the 49: x, y in pixels, confidence"""
    S: np.ndarray | None = None
    """[n 24 4] the same in metres, camera frame, about the pelvis; validity"""


_SPIN_FIELDS = {"pose": (72,), "shape": (10,), "has_smpl": (), "center": (2,), "scale": (),
                "part": (24, 3), "S": (24, 4)}  # fmt: skip
_FIT_FIELDS = ("pose", "shape", "has_smpl")


def read_spin(path: str | Path, fits: str | Path | None = None) -> Spin:
    """Reads rows of SPIN, with or without fits.

    Args:
      path: dataset_extras/*.npz or h36m_train.npz (rows, some with pose and shape),
        mpi-inf-3dhp_mview_fits.npz (fits alone) or static_fits/*.npy (fits alone, [n 82]).
      fits: a second file, of fits, for the rows of `path`: row i belongs to row i.

    Raises:
      UserError: no such file, a field of the wrong form, or fields whose lengths differ.
    """
    files, arrays = f"{path}", _read_numpy(path)
    if fits is not None:
        files += f" and {fits}"
        found = _read_numpy(fits)
        arrays |= {name: found[name] for name in _FIT_FIELDS if name in found}
    names = arrays.pop("imgname", None)
    arrays = {name: checked.rows(array, _SPIN_FIELDS[name], files, name)
              for name, array in arrays.items()}  # fmt: skip
    if names is not None and (names.dtype.kind not in "US" or names.ndim != 1):
        raise UserError(f"{path}: imgname is {list(names.shape)} of {names.dtype}, not [n] of text")
    lengths = {name: len(array) for name, array in arrays.items()}
    lengths |= {} if names is None else {"imgname": len(names)}
    if names is None and "pose" not in arrays:
        raise UserError(f"{path} holds neither rows of SPIN nor fits: no imgname and no pose")
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
    """SPIN's fields in a .npz; those of a .npy, which has pose and shape side by side."""
    try:
        with open(path, "rb") as file:
            single = file.read(6) == np.lib.format.MAGIC_PREFIX
        if single:
            fits = checked.rows(read_npy(path), (82,), path, "the array of fits")
            return {"pose": fits[:, :72], "shape": fits[:, 72:]}
        with open_npz(path) as content:
            return {name: content[name] for name in ("imgname", *_SPIN_FIELDS) if name in content}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except ValueError as error:
        raise UserError(f"{path} does not hold plain arrays, or is damaged ({error})") from None


# --- MoSh -----------------------------------------------------------------------------------------


def read_mosh(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads MoSh's fit to a video of Human3.6M, "<Action>_cam<0-3>_aligned.pkl".

    Returns:
      pose [n 72], row i for frame 5 i of the video, and shape [10].

    The file's roots turn a template that stands on its head; here, as everywhere, they turn SMPL's.

    Raises:
      UserError: no such file, it asks for anything but arrays, or a field is wrong.
    """
    content = restricted_load(path, kind="file of MoSh")
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is not a file of MoSh: it holds a {type(content).__name__}")
    pose = checked.rows(content.get("new_poses"), (72,), path, "new_poses")
    pose = checked.numbers(pose, pose.shape, f"{path}", "new_poses")
    shape = checked.numbers(content.get("betas"), (10,), f"{path}", "betas", any_layout=True)
    head_down = Rotation.from_rotvec([math.pi, 0, 0])
    pose[:, :3] = (Rotation.from_rotvec(pose[:, :3]) * head_down).as_rotvec()
    return pose.astype(np.float32), shape.astype(np.float32)


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
