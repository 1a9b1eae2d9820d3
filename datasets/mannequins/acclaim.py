"""Reads Acclaim motions (.amc) with their skeletons (.asf)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.errors import UserError

from .recording import Reader, Recording, read_lines

FPS = 120.0  # not in the files; those of CMU, the source of nearly all, have 120


@dataclasses.dataclass
class _Bone:
    direction: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))
    length: float = 0.0
    axis: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    dof: tuple[str, ...] = ()


def find_asf(path: str | Path) -> Path:
    """Returns the skeleton of an AMC file: for 11_01.amc it is 11_01.asf or 11.asf, or the only one
    in the folder.

    Raises:
      UserError: it is missing.
    """
    path = Path(path)
    folders = (path.parent, path.parent.parent)
    files = (file for folder in folders for file in sorted(folder.glob("*")))
    skeletons = [file for file in files if file.suffix.lower() == ".asf"]
    for stem in (path.stem, path.stem.split("_")[0]):
        for candidate in skeletons:
            if candidate.stem == stem:
                return candidate
    siblings = [p for p in skeletons if p.parent == path.parent]
    if len(siblings) == 1:
        return siblings[0]
    wanted = path.parent / f"{path.stem.split('_')[0]}.asf"
    raise UserError(f"{path} needs its skeleton: put {wanted.name} next to it")


def _euler(order: str, angles: list[float], degrees: bool) -> np.ndarray:
    """Composes extrinsic rotations (about fixed axes), in the given order."""
    return Rotation.from_euler(order.lower(), angles, degrees=degrees).as_matrix()


def read(path: str | Path, skeleton: str | Path) -> Recording:
    """Reads an Acclaim motion and its skeleton. A bone becomes the joint where it begins.

    Raises:
      UserError: a file cannot be read; the message names the file and line at fault.
    """
    path = Path(path)
    names, parents, bones, root_order, degrees = _read_asf(Path(skeleton))
    index = {name: i for i, name in enumerate(names)}
    reader = Reader(path, read_lines(path))
    if not any(line.strip().isdigit() for line in reader.lines):
        raise UserError(f"{path} has no frames: it is not an AMC file, or is truncated")
    columns = {name: len(bone.dof) for name, bone in bones.items() if bone.dof}
    columns["root"] = len(root_order)
    values: dict[str, list[list[float]]] = {name: [] for name in columns}
    frames = 0
    while words := reader.peek():
        reader.words()
        if words[0].startswith(":"):
            if words[0].upper() in (":DEGREES", ":RADIANS"):
                degrees = words[0].upper() == ":DEGREES"
        elif len(words) == 1 and words[0].isdigit():
            frames += 1
        elif words[0] in columns:
            rows = values[words[0]]
            rows.append(reader.numbers(words[1:], columns[words[0]]))
            if len(rows) != frames:
                raise reader.fail(f"{words[0]} is twice in this frame or missing in the one before")
        else:
            raise reader.fail(f"{words[0]!r} is not a bone of {Path(skeleton).name} that moves")
    for name, rows in values.items():
        if len(rows) != frames:
            raise UserError(f"{path}: the last frame has no {name}: the file is truncated")

    R_world_joint = np.empty((frames, len(names), 3, 3))
    rest = np.zeros((len(names), 3))
    channels = {name: np.array(rows) for name, rows in values.items()}
    t_world_root = np.zeros((frames, 3))
    for column, kind in enumerate(root_order):
        if kind.startswith("t"):
            t_world_root[:, "xyz".index(kind[1])] = channels["root"][:, column]
    for name in names:
        joint, parent, bone = index[name], parents[index[name]], bones[name]
        dof = tuple(root_order) if parent < 0 else bone.dof
        rotating = [i for i, kind in enumerate(dof) if kind.startswith("r")]
        local = np.eye(3)
        if rotating:
            order = "".join(dof[i][1] for i in rotating)
            local = bone.axis @ _euler(order, channels[name][:, rotating], degrees) @ bone.axis.T
        R_world_joint[:, joint] = local if parent < 0 else R_world_joint[:, parent] @ local
        if parent >= 0:
            above = bones[names[parent]]
            rest[joint] = rest[parent] + above.length * above.direction
    # A bone begins where its parent ends, so its origin moves with its parent, as in a BVH file.
    return Recording(path, tuple(names), tuple(parents), rest, R_world_joint, t_world_root, FPS)


def _read_asf(path: Path):
    """Returns names (parents first), parents, bones by name, the root's channels, and whether
    angles are in degrees."""
    reader = Reader(path, read_lines(path))
    bones: dict[str, _Bone] = {"root": _Bone()}
    children: dict[str, list[str]] = {}
    root_order: list[str] = []
    degrees, section = True, ""
    while words := reader.peek():
        reader.words()
        if words[0].startswith(":"):
            section = words[0].lower()
        elif section == ":units" and words[0] == "angle":
            degrees = words[1:2] != ["rad"]
        elif section == ":root" and words[0] == "order":
            root_order = [word.lower() for word in words[1:]]
        elif section == ":bonedata" and words[0] == "begin":
            name, bone = _read_bone(reader, degrees)
            bones[name] = bone
        elif section == ":hierarchy" and words[0] not in ("begin", "end"):
            unknown = [word for word in words if word not in bones]
            if unknown:
                raise reader.fail(f"{unknown[0]!r} is not a bone of this skeleton")
            children.setdefault(words[0], []).extend(words[1:])
    valid = {a + b for a in "tr" for b in "xyz"}
    if len(bones) < 2 or not children or not root_order or set(root_order) - valid:
        raise UserError(f"{path} is no ASF skeleton: it lacks bones, hierarchy or the root's order")
    names, parents = ["root"], [-1]
    for name in names:  # grows during the loop
        for child in children.get(name, []):
            if child in names:
                raise UserError(f"{path}: {child} has two parents")
            parents.append(names.index(name))
            names.append(child)
    return names, parents, {name: bones[name] for name in names}, root_order, degrees


def _read_bone(reader: Reader, degrees: bool) -> tuple[str, _Bone]:
    name, bone = "", _Bone()
    while (words := reader.words())[0] != "end":
        if words[0] == "name" and len(words) == 2:
            name = words[1]
        elif words[0] == "direction":
            bone.direction = np.array(reader.numbers(words[1:], 3))
        elif words[0] == "length":
            (bone.length,) = reader.numbers(words[1:], 1)
        elif words[0] == "axis":
            order = words[4] if len(words) > 4 else "XYZ"
            if sorted(order.upper()) != ["X", "Y", "Z"]:
                raise reader.fail(f"{order!r} is not an order of axes")
            bone.axis = _euler(order, reader.numbers(words[1:4], 3), degrees)
        elif words[0] == "dof":
            bone.dof = tuple(word.lower() for word in words[1:])
            if any(kind not in ("rx", "ry", "rz", "tx", "ty", "tz", "l") for kind in bone.dof):
                raise reader.fail(f"{' '.join(words[1:])!r} are not degrees of freedom")
    if not name:
        raise reader.fail("a bone without a name")
    return name, bone
