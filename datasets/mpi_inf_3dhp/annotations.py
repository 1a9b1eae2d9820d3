"""Reads the annotations and cameras of MPI-INF-3DHP's training and test sequences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from maed_jax.errors import UserError, reason

from ..checked import rows
from ..matlab import read_mat

# Sequence -> frames and frames per second, as in the owner's tools; annotations may have more rows
# than the videos have frames.
RECORDINGS = {
    "S1/Seq1": (6416, 25), "S1/Seq2": (12430, 50), "S2/Seq1": (6502, 25), "S2/Seq2": (6081, 25),
    "S3/Seq1": (12488, 50), "S3/Seq2": (12283, 50), "S4/Seq1": (6171, 25), "S4/Seq2": (6675, 25),
    "S5/Seq1": (12820, 50), "S5/Seq2": (12312, 50), "S6/Seq1": (6188, 25), "S6/Seq2": (6145, 25),
    "S7/Seq1": (6239, 25), "S7/Seq2": (6320, 25), "S8/Seq1": (6468, 25), "S8/Seq2": (6054, 25),
}  # fmt: skip
JOINTS = 28


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The labels of one camera, t frames."""

    pixels: np.ndarray
    """[t joints 2]"""
    points: np.ndarray
    """[t joints 3] metres, camera frame"""


@dataclasses.dataclass(frozen=True)
class TestAnnotations(Annotations):
    __test__ = False  # not a test for pytest

    universal: np.ndarray
    """[t joints 3] metres, the same person scaled to the common height of the official evaluation;
    does not project onto the image"""
    valid: np.ndarray
    """[t] bool: the owner's mask"""


@dataclasses.dataclass(frozen=True)
class Camera:
    size: tuple[int, int]
    """width, height, pixels"""
    intrinsics: np.ndarray
    """[4] fx, fy, cx, cy, pixels"""


def read_train(path: Path, camera: int, frames: int) -> Annotations:
    """Reads one camera's labels from a training sequence's annot.mat, at most `frames` rows.

    Raises:
      UserError: it is not such a file, or a field is wrong.
    """
    found = read_mat(path, ("annot2", "annot3"))
    arrays = {}
    for field, size in (("annot2", 2), ("annot3", 3)):
        cells = found[field]
        if not isinstance(cells, list) or len(cells) <= camera:
            raise UserError(f"{path}: {field} has no cell for camera {camera}")
        label = f"{field}{{{camera + 1}}}"
        arrays[field] = _numbers(cells[camera], (JOINTS * size,), path, label)[:frames]
    if len(arrays["annot2"]) != len(arrays["annot3"]):
        raise UserError(
            f"{path}: camera {camera} has {len(arrays['annot2'])} rows of annot2 and "
            f"{len(arrays['annot3'])} of annot3"
        )
    return Annotations(
        arrays["annot2"].reshape(-1, JOINTS, 2), arrays["annot3"].reshape(-1, JOINTS, 3) / 1000
    )


def read_test(path: Path) -> TestAnnotations:
    """Reads the labels in a test sequence's annot_data.mat.

    Raises:
      UserError: it is not such a file, or a field is wrong.
    """
    fields = {"annot2": 2, "annot3": 3, "univ_annot3": 3}
    found = read_mat(path, (*fields, "valid_frame"))
    arrays = {
        field: _numbers(np.asarray(found[field]).T, (1, 17, size), path, field)[:, 0]
        for field, size in fields.items()
    }
    arrays["valid_frame"] = _numbers(np.ravel(found["valid_frame"]), (), path, "valid_frame")
    lengths = {field: len(array) for field, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{path}: the fields have different numbers of frames: {lengths}")
    return TestAnnotations(
        pixels=arrays["annot2"],
        points=arrays["annot3"] / 1000,
        universal=arrays["univ_annot3"] / 1000,
        valid=arrays["valid_frame"] > 0,
    )


def _numbers(value, inner: tuple[int, ...], path: Path, field: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise UserError(f"{path}: {field} does not contain numbers")
    return rows(value, inner, path, field).astype(np.float64)


def read_calibration(path: Path, number: int) -> Camera:
    """Reads one camera from a training sequence's camera.calibration.

    Raises:
      UserError: the file cannot be read, or lacks the camera.
    """
    try:
        lines = path.read_text(encoding="latin1").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    fields: dict[str, list[str]] = {}
    current = None
    for line in lines:
        key, *values = line.split() or [""]
        if key == "name":
            current = values
        elif current == [str(number)]:
            fields[key] = values
    try:
        width, height = (int(float(value)) for value in fields["size"])
        matrix = np.array(fields["intrinsic"], float).reshape(4, 4)
    except (KeyError, ValueError, OverflowError):
        raise UserError(
            f"{path} has no camera {number} with a size and an intrinsic matrix: is it the "
            "owner's camera.calibration?"
        ) from None
    return Camera((width, height), matrix[[0, 1, 0, 1], [0, 1, 2, 2]])
