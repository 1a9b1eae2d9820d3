"""Reads the original's databases: joblib files of arrays with one row per person and frame."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body.skeleton import to_keypoints49
from maed_jax.errors import UserError
from maed_jax.files.joblib import read_joblib

# name -> possible shapes of a row; text is checked separately. `frame_id`, `cam` and `features` are
# not needed.
FIELDS = {
    "joints2D": [(49, 3), (25, 3)],
    "joints3D": [(49, 4)],
    "bbox": [(4,)],
    "pose": [(72,), (24, 3, 3)],
    "shape": [(10,)],
    "valid": [()],  # 3DPW's
    "valid_i": [(), (1,)],  # MPI-INF-3DHP's
}
SAMPLE = 1000  # rows that are examined to detect a wrong file
ANKLES, SHOULDERS = [25, 30], [33, 34]


@dataclasses.dataclass(frozen=True)
class Database:
    """A file's arrays, n rows each; usually memory-mapped."""

    path: Path
    image: np.ndarray
    """[n] text"""
    video: np.ndarray | None
    """[n] text, equal for all rows of a track; None for stills"""
    arrays: dict[str, np.ndarray]
    """by name, those of FIELDS that exist"""

    def __len__(self) -> int:
        return len(self.image)

    def starts(self) -> np.ndarray:
        """Returns the rows where tracks begin; each still is a track."""
        if self.video is None:
            return np.arange(len(self))
        return np.flatnonzero(np.r_[True, self.video[1:] != self.video[:-1]])

    def keypoints_2d(self, rows) -> np.ndarray:
        """Returns [rows 49 3]: x, y in pixels, confidence."""
        points = np.asarray(self.arrays["joints2D"][rows], np.float64)
        # The original's conversion of InstaVariety keeps that dataset's 25 keypoints.
        return points if points.shape[1] == 49 else to_keypoints49(points, "insta")

    def keypoints_3d(self, rows) -> np.ndarray | None:
        """Returns [rows 49 4]: metres in the camera frame, validity; None if the file has none."""
        return self._float64("joints3D", rows)

    def boxes(self, rows) -> np.ndarray | None:
        """Returns [rows 4]: centre x, centre y, width, height; None if the file has none."""
        return self._float64("bbox", rows)

    def valid(self, rows) -> np.ndarray:
        """Returns the owner's mask of frames, [rows] bool."""
        masks = [self._float64(name, rows) for name in ("valid", "valid_i")]
        mask = next((mask for mask in masks if mask is not None), None)
        return np.ones(len(self.image[rows]), bool) if mask is None else mask.ravel() > 0

    def smpl(self, rows) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns pose [rows 72] and shape [rows 10]; None if the file has none.

        A pose that is not a rotation becomes NaN, as does an all-zero one, which means that there
        is none: it would be someone upside down with arms outstretched.
        """
        pose, shape = self._float64("pose", rows), self._float64("shape", rows)
        if pose is None or shape is None:
            return None
        if pose.ndim == 4:
            error = np.abs(pose @ pose.swapaxes(-1, -2) - np.eye(3)).max((1, 2, 3))
            valid = (error < 1e-2) & (np.linalg.det(pose) > 0).all(-1)
            pose[~valid] = np.eye(3)
            pose = Rotation.from_matrix(pose.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 72)
        pose[~pose.any(-1)] = np.nan
        return pose, shape

    def _float64(self, name: str, rows) -> np.ndarray | None:
        array = self.arrays.get(name)
        return None if array is None else np.array(array[rows], np.float64)


def read_database(path: Path, with_boxes: bool = True) -> Database:
    """Reads a file such as 3dpw_train_db.pt.

    Args:
      with_boxes: whether its boxes will be used; if not, they are not checked.

    Raises:
      UserError: it is not such a file; a field is missing or has the wrong shape; fields differ in
        length; or the labels are implausible.
    """
    content = read_joblib(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a database: it contains a {type(content).__name__}")
    names = {"img_name", "vid_name", *FIELDS} & set(content)
    if not with_boxes:
        names.discard("bbox")
    arrays = {name: _check(content[name], name, path) for name in sorted(names)}
    for name in ("img_name", "joints2D", *(("shape",) if "pose" in arrays else ())):
        if name not in arrays:
            raise UserError(f"{path} is not one of the original's databases: it has no {name}")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        hint = ""
        if len(set(lengths.values()) - {lengths.get("bbox")}) == 1:
            hint = "; --boxes keypoints makes other boxes"  # 3DPW's are not trimmed like the rest
        raise UserError(f"the fields of {path} differ in length: {lengths}{hint}")
    if not len(arrays["img_name"]):
        raise UserError(f"{path} has no rows")
    database = Database(Path(path), arrays.pop("img_name"), arrays.pop("vid_name", None), arrays)
    _check_labels(database)
    return database


def _check(array, name: str, path: Path) -> np.ndarray:
    shape, kind = getattr(array, "shape", ()), getattr(array, "dtype", np.dtype(object)).kind
    shapes = FIELDS.get(name, [()])
    if not shape or kind not in ("biuf" if name in FIELDS else "US") or shape[1:] not in shapes:
        what = "numbers" if name in FIELDS else "text"
        expected = " or ".join(str(["n", *inner]) for inner in shapes).replace("'", "")
        raise UserError(
            f"{path}: {name} is {list(shape)} of kind {kind!r}, not {expected} of {what}"
        )
    return array.astype(str) if kind == "S" else array


def _check_labels(database: Database) -> None:
    """Checks that the labels have plausible units and joints.

    Raises:
      UserError: they do not.
    """
    rows = np.unique(np.linspace(0, len(database) - 1, SAMPLE).astype(int))
    keypoints_3d = database.keypoints_3d(rows)
    coordinates = () if keypoints_3d is None else np.abs(keypoints_3d[keypoints_3d[..., 3] > 0, :3])
    if len(coordinates) and np.median(coordinates) > 20:
        raise UserError(f"{database.path}: joints3D are too large to be metres")
    points = database.keypoints_2d(rows)
    visible = (points[:, ANKLES + SHOULDERS, 2] > 0).all(-1)
    if visible.sum() >= 10:
        above = points[visible][:, ANKLES, 1].mean(-1) < points[visible][:, SHOULDERS, 1].mean(-1)
        if above.mean() > 0.6:
            raise UserError(
                f"{database.path}: joints2D have ankles above shoulders in {above.mean():.0%} of "
                "the rows: joints are mixed up, as in the output of the original's conversion of "
                "Penn Action; use the builder pennaction instead"
            )
