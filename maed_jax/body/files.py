"""Body files: SMPL's (.pkl, .npz, a directory, a mapping).

No file is trusted: pickles are read by `maed_jax.files.unpickle`, NumPy files without objects, and
every array's shape is checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from maed_jax.body import skeleton
from maed_jax.body.smpl import NUM_BETAS, NUM_JOINTS, Body
from maed_jax.errors import UserError
from maed_jax.files.numpy import HoldsObjects, open_npz, read_npy
from maed_jax.files.stand_ins import ChumpyNode
from maed_jax.files.unpickle import restricted_load

MODEL_KEYS = (
    "v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f",
)  # fmt: skip
# Paths of the body within a directory, in order of preference.
MODEL_FILES = (
    "SMPL_NEUTRAL.npz", "SMPL_NEUTRAL.pkl", "smpl/SMPL_NEUTRAL.npz", "smpl/SMPL_NEUTRAL.pkl",
    "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl",
)  # fmt: skip
# The same for gendered bodies.
GENDERED_FILES = {
    "male": (
        "SMPL_MALE.npz", "SMPL_MALE.pkl", "smpl/SMPL_MALE.npz", "smpl/SMPL_MALE.pkl",
        "basicModel_m_lbs_10_207_0_v1.0.0.pkl", "basicmodel_m_lbs_10_207_0_v1.1.0.pkl",
    ),
    "female": (
        "SMPL_FEMALE.npz", "SMPL_FEMALE.pkl", "smpl/SMPL_FEMALE.npz", "smpl/SMPL_FEMALE.pkl",
        "basicModel_f_lbs_10_207_0_v1.0.0.pkl", "basicmodel_f_lbs_10_207_0_v1.1.0.pkl",
    ),
}  # fmt: skip
# Key of the mapping -> the file next to the body that contains it.
COMPANIONS = {
    "J_regressor_extra": "J_regressor_extra.npy",
    "J_regressor_h36m": "J_regressor_h36m.npy",
    "mean_params": "smpl_mean_params.npz",
}
_SMPL_VERTS = 6890
_NUM_POSE = 9 * (NUM_JOINTS - 1)

Source = Body | str | os.PathLike | Mapping[str, Any]
"""a body as `load_body` accepts it"""


def load_body(source: Source, gender: str = "neutral") -> Body:
    """Loads a body.

    Args:
      source: a `Body`; "mannequin" for the built-in body; the path of SMPL's .pkl or .npz, or of a
        directory with SMPL_NEUTRAL.npz or .pkl; or a mapping with SMPL's keys. Files named
        J_regressor_extra.npy, J_regressor_h36m.npy and smpl_mean_params.npz next to the body, or
        the keys J_regressor_extra, J_regressor_h36m and mean_params (a mapping of pose, shape,
        cam), are optional; functions that need them raise an error if they are missing.
      gender: "neutral"; or "male" or "female", then loads SMPL_MALE.npz (or .pkl) and so on from
        the directory of the neutral body.

    Raises:
      UserError: nothing there, not a body, an array of the wrong shape, a pickle that needs more
        than arrays, or no such gender.
    """
    if gender not in (genders := ("neutral", *GENDERED_FILES)):
        raise UserError(f"there is no body of gender {gender!r}; choose from {', '.join(genders)}")
    if gender != "neutral":
        path = _gendered_file(source, gender)
        return body_from_mapping(read_arrays(path), str(path))
    if isinstance(source, Body):
        return source
    if isinstance(source, Mapping):
        return body_from_mapping(source, "the body mapping")
    if source == "mannequin":
        from maed_jax.body.mannequin import mannequin

        return mannequin()
    path = find_model_file(source)
    return body_from_mapping(read_arrays(path), str(path))


def load_saved_body(path: str, what: str) -> Body:
    """Loads the body at a path from saved settings.

    Args:
      what: prefix of error messages: whose body it is, and which option overrides it.

    Raises:
      UserError: see `load_body`.
    """
    try:
        return load_body(path)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None


def find_model_file(path: str | os.PathLike) -> Path:
    """The body's file at `path`, which may be the file itself or a directory.

    Raises:
      UserError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        for name in MODEL_FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(
            f"{path} has no body: it needs SMPL_NEUTRAL.npz or SMPL_NEUTRAL.pkl (docs/body.md says "
            "where to get it)"
        )
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: give a body's file, its directory, or mannequin for the "
            "built-in body"
        )
    if path.suffix not in (".pkl", ".npz"):
        raise UserError(f"{path} is not a body: its name must end in .pkl or .npz")
    return path


def _gendered_file(source: Source, gender: str) -> Path:
    """Raises: UserError: there is no such file next to the neutral body."""
    name = f"SMPL_{gender.upper()}.npz"
    if source == "mannequin" or not isinstance(source, str | os.PathLike):
        raise UserError(
            f"the {gender} body is needed but this body has none: give a directory with both "
            f"SMPL_NEUTRAL.npz and {name}"
        )
    folder = Path(source).expanduser()
    folder = folder if folder.is_dir() else folder.parent
    for candidate in GENDERED_FILES[gender]:
        if (folder / candidate).is_file():
            return folder / candidate
    raise UserError(
        f"{folder / name} is missing (.pkl works too): the {gender} body is needed next to the "
        "neutral one"
    )


def read_arrays(path: Path) -> dict[str, Any]:
    """Reads the body's file and the companions next to it, by key of the mapping.

    Raises:
      UserError: a file cannot be read safely.
    """
    if path.suffix == ".pkl":
        arrays = restricted_load(path)
        if not isinstance(arrays, dict):
            raise UserError(f"{path} contains a {type(arrays).__name__}, not a body's arrays")
    else:
        arrays = _read_npz(path)
    # SPIN has SMPL in smpl/ and the rest in the parent directory.
    parents = [path.parent.parent] if path.parent.name == "smpl" else []
    for key, name in COMPANIONS.items():
        files = [folder / name for folder in (path.parent, *parents) if (folder / name).is_file()]
        if key not in arrays and files:
            arrays[key] = (_read_npz if files[0].suffix == ".npz" else _read_npy)(files[0])
    return arrays


def _read_npy(path: Path) -> np.ndarray:
    try:
        return read_npy(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an array of numbers: {error}") from None


class _Unreadable:
    """A .npz entry with Python objects, which is an error only if the entry is needed."""


def _read_npz(path: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    try:
        with open_npz(path) as file:
            for name in file:
                try:
                    arrays[name] = file[name]
                except HoldsObjects:
                    arrays[name] = _Unreadable()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a .npz of arrays: {error}") from None
    return arrays


# --- From arrays to a body ------------------------------------------------------------------------


def body_from_mapping(arrays: Mapping[str, Any], what: str) -> Body:
    """Builds a body from a mapping with SMPL's keys; errors call it `what`.

    Raises:
      UserError: an entry is missing, has the wrong shape, or is not numeric.
    """
    missing = [key for key in MODEL_KEYS if key not in arrays]
    if missing:
        raise UserError(f"{what} is not an SMPL body: it lacks {', '.join(missing)}")
    template = _numbers(arrays, "v_template", ("vertices", 3), what)
    verts = template.shape[0]
    tree = _numbers(arrays, "kintree_table", (2, "joints"), what)
    if tree.shape[1] != NUM_JOINTS:
        raise UserError(
            f"{what} has {tree.shape[1]} joints where SMPL has {NUM_JOINTS}; SMPL-H and SMPL-X are "
            "not supported"
        )
    if tuple(tree[0, 1:]) != skeleton.PARENTS[1:]:
        raise UserError(f"{what}: kintree_table does not contain the parents of SMPL's joints")
    shape_dirs = _numbers(arrays, "shapedirs", (verts, 3, "10 or more"), what)
    if shape_dirs.shape[2] < NUM_BETAS:
        raise _wrong_shape(what, "shapedirs", shape_dirs.shape, (verts, 3, "10 or more"))
    shape_dirs = shape_dirs[..., :NUM_BETAS]
    regressor = _numbers(arrays, "J_regressor", (NUM_JOINTS, verts), what)
    mean = {} if arrays.get("mean_params") is None else arrays["mean_params"]
    if not isinstance(mean, Mapping):
        raise UserError(f"{what}: mean_params is not a mapping with pose, shape and cam")
    of_mean = f"{what}: mean_params" if mean else what
    return _body(
        template=template,
        shape_dirs=shape_dirs,
        pose_dirs=_numbers(arrays, "posedirs", (verts, 3, _NUM_POSE), what),
        skin_weights=_numbers(arrays, "weights", (verts, NUM_JOINTS), what),
        rest_joints=regressor @ template,
        rest_joint_dirs=np.einsum("jv,vxb->jxb", regressor, shape_dirs),
        faces=_faces(_numbers(arrays, "f", ("faces", 3), what), verts, what),
        landmark_regressor=_landmarks(arrays, verts, what),
        h36m_regressor=_optional(arrays, "J_regressor_h36m", (17, verts), what),
        mean_pose6d=_optional(mean, "pose", (6 * NUM_JOINTS,), of_mean),
        mean_shape=_optional(mean, "shape", (NUM_BETAS,), of_mean),
        mean_camera=_optional(mean, "cam", (3,), of_mean),
    )


def _body(faces: np.ndarray, **arrays: np.ndarray | None) -> Body:
    floats = {
        key: None if array is None else np.asarray(array, np.float32)
        for key, array in arrays.items()
    }
    return jax.device_put(Body(faces=np.asarray(faces, np.int32), name="smpl", **floats))


def _numbers(arrays: Mapping[str, Any], key: str, shape: tuple, what: str) -> np.ndarray:
    """Entry `key` as float64 (or int64) of `shape`, in which strings stand for any size."""
    value = arrays[key]
    if isinstance(value, ChumpyNode):
        raise UserError(
            f"{what}: {key} is a chumpy expression ({value.origin}), not an array; save the file "
            "again with plain arrays"
        )
    array = value.toarray() if _is_sparse(value, shape, key, what) else np.asarray(value)
    if isinstance(value, _Unreadable) or array.dtype.kind not in "biuf":
        raise UserError(
            f"{what}: {key} contains Python objects or text, which are not read; save it again as "
            "plain numbers"
        )
    if not _matches(array.shape, shape):
        raise _wrong_shape(what, key, array.shape, shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{what}: {key} has values that are not finite")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def _is_sparse(value: Any, shape: tuple, key: str, what: str) -> bool:
    if not (hasattr(value, "toarray") and hasattr(value, "nnz")):
        return False
    if not _matches(value.shape, shape):  # before making it dense, which may need too much memory
        raise _wrong_shape(what, key, value.shape, shape)
    return True


def _matches(shape: tuple, expected: tuple) -> bool:
    return len(shape) == len(expected) and all(
        isinstance(b, str) or a == b for a, b in zip(shape, expected)
    )


def _wrong_shape(what: str, key: str, shape: tuple, expected: tuple) -> UserError:
    return UserError(f"{what}: {key} has shape {_format(shape)}, expected {_format(expected)}")


def _format(shape: tuple) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _optional(arrays: Mapping[str, Any], key: str, shape: tuple, what: str) -> np.ndarray | None:
    return _numbers(arrays, key, shape, what) if arrays.get(key) is not None else None


def _faces(faces: np.ndarray, verts: int, what: str) -> np.ndarray:
    if faces.size and not (0 <= faces.min() and faces.max() < verts):
        raise UserError(f"{what}: f refers to vertices that the body does not have")
    return faces


def _landmarks(arrays: Mapping[str, Any], verts: int, what: str) -> np.ndarray | None:
    """[30 verts] the 21 landmarks that are vertices, then the nine regressed ones."""
    regressed = _optional(arrays, "J_regressor_extra", (9, verts), what)
    if regressed is None or verts != _SMPL_VERTS:  # the 21 are only known for SMPL's mesh
        return None
    vertices = np.zeros((len(skeleton.SMPL_LANDMARK_VERTICES), verts))
    vertices[np.arange(len(vertices)), skeleton.SMPL_LANDMARK_VERTICES] = 1
    return np.concatenate([vertices, regressed])
