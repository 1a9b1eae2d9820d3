"""Reads MPII's annotations: the owner's RELEASE and the tables that Newell made from it.

MPII locates a person by `objpos`, a point on the upper body, and `scale`, the person's height in
units of 200 pixels. The point 15 pixels times scale below it is about the middle of the body, so
the box is a square of 200 pixels times scale around that. Newell's files already have that middle,
and 1.25 times the scale.

Keypoints are given whether hidden or not; all have confidence 1. An unlabelled one is missing in
RELEASE, and is at 0, 0 or has negative coordinates in Newell's files.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import to_keypoints49
from maed_jax.errors import UserError

from ..checked import image_path
from ..hdf5 import Hdf5
from ..matlab import read_mat
from ..stills import Still

JOINTS = 16
BELOW, SIDE = 15, 200  # pixels, times scale
ENLARGED = 1.25  # Newell's scale over the owner's


def read_release(path: Path, folder: Path, held_out: frozenset[str]) -> dict[str, list[Still]]:
    """Reads RELEASE's people in training images; for other images it has no keypoints.

    Args:
      path: mpii_human_pose_v1_u12_1.mat.
      folder: of the images.
      held_out: names of images for validation.

    Raises:
      UserError: the file has another structure.
    """
    release = read_mat(path, ["RELEASE"])["RELEASE"]
    try:
        images, to_train = _list(release["annolist"]), np.ravel(release["img_train"])
        names = [image["image"]["name"] for image in images]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: RELEASE is not MPII's, it lacks {error}") from None
    if len(images) != len(to_train):
        raise UserError(f"{path}: RELEASE has {len(images)} annolist and {len(to_train)} img_train")
    splits: dict[str, list[Still]] = {"train": [], "validation": []}
    for image, name, train in zip(images, names, to_train):
        if not train:
            continue
        stills = splits["validation" if str(name) in held_out else "train"]
        for number, person in enumerate(_list(image.get("annorect"))):
            try:
                file = image_path(folder, name, f"{path}, annolist")
                stills.append(_release_person(person, file, number))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise UserError(
                    f"{path}: annorect {number + 1} of {name} does not have MPII's form ({error})"
                ) from None
    return splits


def _release_person(person: dict, image: Path, number: int) -> Still:
    points = np.zeros((JOINTS, 3))
    annotated = person.get("annopoints")
    for point in _list(annotated["point"]) if isinstance(annotated, dict) else ():
        points[int(_number(point["id"]))] = _number(point["x"]), _number(point["y"]), 1
    position = person.get("objpos")
    x, y = (_number(position[axis]) if isinstance(position, dict) else np.nan for axis in "xy")
    return _still(f"{image.stem}/{number}", image, points, x, y, _number(person.get("scale")))


def read_newell(path: Path, folder: Path) -> list[Still]:
    """Reads the people in train.h5 or valid.h5 (Newell et al., ECCV 2016, pose-hg-train).

    Raises:
      UserError: the file has another structure.
    """
    shapes = {"imgname": (), "part": (JOINTS, 2), "center": (2,), "scale": (), "person": ()}
    with Hdf5(path) as file:
        lacks = sorted(name for name in shapes if name not in file)
        table = {name: file.table(name) for name in shapes if name in file}
    if lacks:
        raise UserError(f"{path} lacks {', '.join(lacks)}: is it Newell's table of MPII?")
    rows = len(table["imgname"])
    for name, inner in shapes.items():
        if table[name].shape != (rows, *inner):
            raise UserError(
                f"{path}: {name} is {table[name].shape}, but for {rows} people it should be "
                f"{(rows, *inner)}"
            )
        if name != "imgname" and table[name].dtype.kind not in "biuf":
            raise UserError(f"{path}: {name} contains {table[name].dtype}, not numbers")
    if not np.isfinite(table["person"]).all():
        raise UserError(f"{path}: person is not a number in every row")
    stills = []
    for row in range(rows):
        part = table["part"][row]
        points = np.c_[part, (part > 0).all(-1)]
        scale = table["scale"][row] / ENLARGED
        x, y = table["center"][row] - [0, BELOW * scale]
        image = folder / _file_name(table["imgname"][row], path)
        name = f"{image.stem}/{int(table['person'][row])}"
        stills.append(_still(name, image, points, x, y, scale))
    return stills


def _file_name(name: bytes, path: Path) -> str:
    """Checks and returns an image's name, which must be fixed-width text; other tools store it as
    one number per letter."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    if not re.fullmatch(r"[\w.-]+", text):
        raise UserError(f"{path}: imgname contains {text!r}, which is not a file name")
    return text


def _still(name, image, points, x: float, y: float, scale: float) -> Still:
    """Makes a person; x, y, scale: the owner's objpos and scale."""
    side = SIDE * scale
    return Still(
        image=image,
        name=name,
        keypoints_2d=to_keypoints49(points, "mpii").astype(np.float32),
        box=np.array([x, y + BELOW * scale, side, side]),
    )


def _list(value) -> list:
    """Returns an array of structs as a list, whether it has none, one or several."""
    return [value] if isinstance(value, dict) else value if isinstance(value, list) else []


def _number(value) -> float:
    """Returns a MATLAB number; NaN if the field is empty or missing."""
    if value is None or np.size(value) == 0:
        return np.nan
    return float(np.ravel(value)[0])
