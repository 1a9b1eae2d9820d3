"""Retargets recorded motion, from BVH and Acclaim (ASF/AMC) files, to our skeleton.

Each joint gets the rotation, relative to a reference pose, of the corresponding part of the
recorded skeleton; where arms or legs of the two skeletons point in different directions at rest,
this is compensated. The result resembles the recording; it is not a fit to it.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from maed_jax.body import skeleton
from maed_jax.errors import UserError

from . import acclaim, bvh
from .motion import Motion
from .recording import Reader, Recording, read_lines

# Names of the left parts, in order of preference; names of the right parts follow from them.
_LIMBS = {
    "hip": ("leftupleg", "lefthip", "lfemur", "leftthigh", "lthigh", "lhip", "lupleg"),
    "knee": ("leftleg", "leftknee", "ltibia", "leftshin", "leftlowleg", "lshin", "lknee", "lleg"),
    "ankle": ("leftfoot", "leftankle", "lfoot", "lankle"),
    "toe": ("lefttoebase", "lefttoe", "ltoes", "ltoe", "ltoebase"),
    "collar": ("leftcollar", "lclavicle", "leftclavicle", "lcollar", "leftshoulder", "lshoulder"),
    "shoulder": (
        "leftarm", "leftuparm", "leftupperarm", "lhumerus", "leftshldr", "lshldr", "lupperarm",
        "lefthumerus", "larm", "leftshoulder", "lshoulder",
    ),
    "elbow": (
        "leftforearm", "leftelbow", "leftlowarm", "leftlowerarm", "lradius", "lforearm", "lelbow",
        "llowerarm",
    ),
    "wrist": ("lefthand", "leftwrist", "lhand", "lwrist"),
}  # fmt: skip
_JOINT = {  # our left joint; the right one is the next
    "hip": 1, "knee": 4, "ankle": 7, "toe": 10, "collar": 13, "shoulder": 16, "elbow": 18,
    "wrist": 20,
}  # fmt: skip
_NEEDED = ("hip", "knee", "ankle", "shoulder", "elbow")


def _normalise(name: str) -> str:
    """mixamorig:LeftUpLeg -> leftupleg"""
    name = name.rsplit(":", 1)[-1].lower()
    return "".join(c for c in name if c.isalnum()).removeprefix("mixamorig")


def _match(recording: Recording) -> dict[int, int]:
    """Returns our joint -> index of the recorded one, for arms, legs and head.

    Raises:
      UserError: a required part is missing.
    """
    index_of = {_normalise(name): i for i, name in reversed(list(enumerate(recording.names)))}
    found = {0: 0}
    for part, names in _LIMBS.items():
        for right in (0, 1):
            for name in names:
                if right:
                    name = "right" + name[4:] if name.startswith("left") else "r" + name[1:]
                if name in index_of:
                    found[_JOINT[part] + right] = index_of[name]
                    break
            else:
                if part in _NEEDED:
                    side = ("left", "right")[right]
                    raise UserError(
                        f"{recording.path} has no {side} {part} among its joints "
                        f"({', '.join(recording.names[:40])})"
                    )
    for collar, shoulder in ((13, 16), (14, 17)):
        if found.get(collar) == found[shoulder]:
            del found[collar]
    if "head" in index_of:
        found[15] = index_of["head"]
    return found


def _path_up(parents: tuple[int, ...], joint: int) -> list[int]:
    """Returns the joint and all its ancestors, the root last."""
    path = [joint]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return path


def _axes(rest: np.ndarray, found: dict[int, int]) -> np.ndarray:
    """Returns the rotation [3 3] by right angles from the recording's axes to ours (x left, y up,
    z forward)."""
    left = rest[found[1]] - rest[found[2]]
    up = (rest[found[1]] + rest[found[2]]) - (rest[found[7]] + rest[found[8]])
    rows = []
    for direction in (left, up):
        row = np.zeros(3)
        axis = np.argmax(np.abs(direction))
        row[axis] = np.sign(direction[axis])
        rows.append(row)
    return np.stack([*rows, np.cross(*rows)])


def _upright(rest: np.ndarray, found: dict[int, int], *, sideways: bool = False) -> bool:
    """Returns whether the legs point down, and the upper arms sideways or, unless `sideways` is
    set, obliquely down."""
    axes = _axes(rest, found)
    if abs(np.linalg.det(axes) - 1) > 1e-6:
        return False
    rest = rest @ axes.T

    def cosine(start: int, end: int, direction: tuple) -> float:
        bone = rest[found[end]] - rest[found[start]]
        return float(bone @ direction / max(np.linalg.norm(bone), 1e-9))

    legs = [cosine(a, b, (0, -1, 0)) for a, b in ((1, 4), (4, 7), (2, 5), (5, 8))]
    x, y = (1, 0) if sideways else (0.87, -0.5)
    arms = [cosine(16, 18, (x, y, 0)), cosine(17, 19, (-x, y, 0))]
    return min(legs) > 0.85 and min(arms) > (0.85 if sideways else 0.6)


def _smallest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the smallest rotation [3 3] from one direction to another, not opposite one."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    axis = np.cross(a, b)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + a @ b)


def _slerp(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    rotvec = Rotation.from_matrix(first.transpose(0, 2, 1) @ second).as_rotvec()
    return first @ Rotation.from_rotvec(fraction * rotvec).as_matrix()


def retarget(recording: Recording, rest_joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transfers a recording to our skeleton.

    Args:
      rest_joints: [24 3], the body's joints at rest in T-pose, metres.

    Returns:
      Rotations [frames 24 3 3] (R_world_root, then R_parent_joint) in a world with y up, and
      t_world_root [frames 3], metres, scaled by the ratio of leg lengths.

    Raises:
      UserError: a part of the body is missing, or neither the first frame nor the rest pose shows
        how the skeleton fits the body.
    """
    found = _match(recording)
    # A first frame in T-pose is for calibration and not part of the motion.
    first = recording.positions(0)
    calibrated = _upright(first, found, sideways=True)
    if calibrated or (_upright(first, found) and not _upright(recording.rest, found)):
        rest = first
        R_source = recording.R_world_joint @ recording.R_world_joint[:1].transpose(0, 1, 3, 2)
    elif _upright(recording.rest, found):
        rest, R_source = recording.rest, recording.R_world_joint
    else:
        raise UserError(
            f"{recording.path}: neither the first frame nor the skeleton at rest stands upright "
            "with straight arms (T-pose); add such a first frame"
        )
    axes = _axes(rest, found)
    rest = rest @ axes.T
    R_source = axes @ R_source @ axes.T
    t_world_root = recording.t_world_root @ axes.T

    chest = next(
        joint
        for joint in _path_up(recording.parents, found[16])
        if joint in _path_up(recording.parents, found[17])
    )
    spine = _path_up(recording.parents, chest)[-2::-1]  # without the root, upwards
    moving = [
        j for j in spine if np.abs(R_source[:, j] - R_source[:, recording.parents[j]]).max() > 1e-9
    ]
    spine = moving or spine  # links that never move by themselves are not joints of the back
    R_target: dict[int, np.ndarray] = {joint: R_source[:, index] for joint, index in found.items()}
    if len(spine) >= 3:
        R_target |= {3: R_source[:, spine[0]], 6: R_source[:, spine[len(spine) // 2]]}
    R_target[9] = R_source[:, chest]
    if len(spine) == 2:
        R_target[3] = R_source[:, spine[0]]
        R_target[6] = _slerp(R_target[3], R_target[9], 0.5)
    elif len(spine) < 2:
        R_target |= {
            3: _slerp(R_target[0], R_target[9], 1 / 3),
            6: _slerp(R_target[0], R_target[9], 2 / 3),
        }
    if 15 in found:
        neck = [
            j for j in _path_up(recording.parents, found[15])[1:] if j not in (chest, *spine, 0)
        ]
        R_target[12] = R_source[:, neck[0]] if neck else _slerp(R_target[9], R_target[15], 0.5)
    for start, end in ((1, 4), (4, 7), (16, 18), (18, 20)):
        for right in (0, 1):
            if end + right not in found:
                continue
            bone = rest[found[end + right]] - rest[found[start + right]]
            ours = rest_joints[end + right] - rest_joints[start + right]
            R_target[start + right] = R_target[start + right] @ _smallest_rotation(ours, bone)
    for hand in (20, 21):
        if hand in found:
            bone = rest[found[hand]] - rest[found[hand - 2]]
            ours = rest_joints[hand] - rest_joints[hand - 2]
            R_target[hand] = R_target[hand] @ _smallest_rotation(ours, bone)

    rotations = np.tile(np.eye(3), (len(R_source), 24, 1, 1))
    rotations[:, 0] = R_target[0]
    for joint in range(1, 24):
        parent = skeleton.PARENTS[joint]
        R_target.setdefault(joint, R_target[parent])
        rotations[:, joint] = R_target[parent].transpose(0, 2, 1) @ R_target[joint]

    def leg(points: np.ndarray, joints: list[int]) -> float:
        return float(np.linalg.norm(np.diff(points[joints], axis=0), axis=1).sum())

    scale = leg(rest_joints, [1, 4, 7]) / leg(rest, [found[1], found[4], found[7]])
    start = 1 if calibrated and len(rotations) > 1 else 0
    return rotations[start:], scale * (t_world_root[start:] - t_world_root[start])


def resample(rotations: np.ndarray, positions: np.ndarray, fps: float, to: float):
    """Resamples rotations [frames joints 3 3] and positions [frames 3] from rate `fps` to `to`."""
    if len(rotations) < 2:
        return rotations, positions
    times = np.arange(len(rotations)) / fps
    new = np.arange(int(times[-1] * to + 1e-6) + 1) / to
    new = np.minimum(new, times[-1])
    resampled = np.stack(
        [
            Slerp(times, Rotation.from_matrix(rotations[:, joint]))(new).as_matrix()
            for joint in range(rotations.shape[1])
        ],
        axis=1,
    )
    return resampled, np.stack([np.interp(new, times, positions[:, i]) for i in range(3)], axis=1)


def read(path: str | Path) -> Recording:
    """Reads a .bvh file, or an .amc file with the .asf skeleton next to it.

    Raises:
      UserError: it cannot be read; the message says where and why.
    """
    path = Path(path)
    return (
        acclaim.read(path, acclaim.find_asf(path))
        if path.suffix.lower() == ".amc"
        else bvh.read(path)
    )


def frame_count(path: str | Path) -> tuple[int, float]:
    """Returns the number of frames, and frames per second, without reading the motion."""
    path = Path(path)
    lines = read_lines(path)
    if path.suffix.lower() == ".amc":
        return sum(line.strip().isdigit() for line in lines), acclaim.FPS
    for number, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["Frames:"]:
            reader = Reader(path, lines, number)
            return reader.motion_header()
    raise UserError(f"{path} has no line 'Frames: ...': it is not a BVH file, or is truncated")


@functools.lru_cache(maxsize=4)
def load_motion(path: str, fps: float = 30.0) -> Motion:
    """Loads a recorded motion onto the built-in body, at `fps`.

    Raises:
      UserError: the file cannot be read, or its skeleton is not a person's.
    """
    from maed_jax.body.mannequin import mannequin

    recording = read(path)
    with np.errstate(invalid="ignore"):  # from bones of zero length; see below
        rotations, t_world_root = retarget(
            recording, np.asarray(mannequin().rest_joints, np.float64)
        )
    if not (np.isfinite(rotations).all() and np.isfinite(t_world_root).all()):
        raise UserError(f"{path}: its skeleton does not fit a person's; do its bones have lengths?")
    rotations, t_world_root = resample(rotations, t_world_root, recording.fps, fps)
    return Motion("recorded", rotations, np.zeros(len(rotations)), t_world_root)


def cut(motion: Motion, start: int, frames: int) -> Motion:
    """Cuts `frames` frames out of a recorded motion and moves their beginning to x = z = 0."""
    part = slice(start, start + frames)
    positions = motion.t_world_root[part]
    positions = positions - positions[:1] * [1, 0, 1]
    return dataclasses.replace(
        motion, rotations=motion.rotations[part], hop=motion.hop[part], t_world_root=positions
    )


def find(folder: str | Path) -> list[Path]:
    """Returns all BVH and AMC files below a folder, sorted.

    Raises:
      UserError: there is no such folder, or no file in it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: --motions needs one with BVH or AMC files")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".bvh", ".amc"))
    if not files:
        raise UserError(f"there are no .bvh or .amc files in {folder}")
    return files


def split(files: list[Path], frames: int, fps: float) -> dict[str, list[tuple[str, int, int]]]:
    """Divides files into pieces (file, first frame at `fps`, length) for the three splits.

    If there are ten files or more, every ninth and tenth go to validation and test; if there are
    fewer, every fourth and fifth piece do.
    """
    out: dict[str, list[tuple[str, int, int]]] = {"train": [], "validation": [], "test": []}
    names = {8: "validation", 9: "test"}
    all_pieces: list[tuple[str, int, int]] = []
    for number, path in enumerate(files):
        count, rate = frame_count(path)
        length = int((count - 2) * fps / rate)
        pieces = [(str(path), start, frames) for start in range(0, length - frames + 1, frames)]
        all_pieces += pieces
        if len(files) >= 10:
            out[names.get(number % 10, "train")] += pieces
    if len(files) < 10:
        for number, piece in enumerate(all_pieces):
            out[{3: "validation", 4: "test"}.get(number % 5, "train")].append(piece)
    return out
