"""Reads BVH files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .recording import Reader, Recording, read_lines

MAX_JOINTS = 500


def read(path: str | Path) -> Recording:
    """Reads a BVH file, with rotation channels in any order, and root translation if it has any.

    Raises:
      UserError: it cannot be read; the message names the file and line at fault.
    """
    path = Path(path)
    reader = Reader(path, read_lines(path))
    reader.expect("HIERARCHY")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []

    def joint(name: str, parent: int) -> None:
        index = len(names)
        if index == MAX_JOINTS:
            raise reader.fail(f"more than {MAX_JOINTS} joints: not a body")
        names.append(name)
        parents.append(parent)
        reader.expect("{")
        offsets.append(reader.numbers(reader.expect("OFFSET"), 3))
        channels.append([])
        while True:
            words = reader.words()
            kind = words[0].upper()
            if kind == "CHANNELS":
                kinds = [word.capitalize() for word in words[2:]]
                valid = [a + b for a in "XYZ" for b in ("position", "rotation")]
                if words[1:2] != [str(len(kinds))] or any(k not in valid for k in kinds):
                    raise reader.fail(f"invalid channels: {' '.join(words)!r}")
                channels[index] = kinds
            elif kind == "JOINT" and len(words) > 1:
                joint(" ".join(words[1:]), index)
            elif kind == "END":
                reader.expect("{")
                reader.numbers(reader.expect("OFFSET"), 3)
                reader.expect("}")
            elif kind == "}":
                return
            else:
                raise reader.fail(f"expected JOINT, End Site or '}}', found {words[0]!r}")

    joint(" ".join(reader.expect("ROOT")) or "root", -1)
    reader.expect("MOTION")
    frames, fps = reader.motion_header()
    width = sum(len(kinds) for kinds in channels)
    if frames > len(reader.lines) - reader.at:
        reader.at = len(reader.lines)
        raise reader.fail("the file ends too early: it has fewer frames than it says")
    table = np.empty((frames, width))
    for frame in range(frames):
        table[frame] = reader.numbers(reader.words(), width)

    R_world_joint = np.empty((frames, len(names), 3, 3))
    t_world_root = np.zeros((frames, 3))
    rest = np.zeros((len(names), 3))
    column = 0
    for index, kinds in enumerate(channels):
        values = dict(zip(kinds, table[:, column : column + len(kinds)].T))
        column += len(kinds)
        order = "".join(kind[0] for kind in kinds if kind.endswith("rotation"))
        local = np.eye(3)
        if order:
            angles = np.stack([values[f"{axis}rotation"] for axis in order], -1)
            local = Rotation.from_euler(order, angles, degrees=True).as_matrix()
        parent = parents[index]
        R_world_joint[:, index] = local if parent < 0 else R_world_joint[:, parent] @ local
        rest[index] = 0 if parent < 0 else rest[parent] + offsets[index]
        if parent < 0:
            for axis, name in enumerate("XYZ"):
                t_world_root[:, axis] = values.get(f"{name}position", np.zeros(frames))
    return Recording(path, tuple(names), tuple(parents), rest, R_world_joint, t_world_root, fps)
