"""A person as a BVH file: the skeleton and its rotations, no skin. Metres, y up.

Each row of the file is a frame of the person's track; all are as far apart in time as the video's
frames are on average, and gaps in the track have no rows. A joint's rotation is Rz Rx Ry, in
degrees ("Zrotation Xrotation Yrotation"): turning on the spot, the most common large rotation, is
then the last angle, away from the singularity that Euler angles have in the middle one.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.body.smpl import Body
from maed_jax.exports.animation import Animation, animate
from maed_jax.inference.results import Person

ROTATIONS = "Zrotation Xrotation Yrotation"
_SAME = np.array([180.0, 180.0, 180.0])  # (z, x, y) and (z + 180, 180 - x, y + 180) are the same


def write_bvh(path: str | Path, person: Person, body: Body) -> None:
    """Writes a person who was reconstructed with `body`.

    Raises:
      OSError: the file cannot be written.
    """
    animation = animate(person, body)
    order = _depth_first(body.parents)
    angles = euler_angles(animation.rotations)[:, order]
    with open(path, "w", encoding="ascii") as file:
        file.write("HIERARCHY\n" + _joint(0, animation, body.parents, 0))
        file.write(f"MOTION\nFrames: {len(angles)}\nFrame Time: {animation.frame_time:.8f}\n")
        for position, frame in zip(animation.positions, angles):
            row = [f"{value:.6f}" for value in position] + [f"{a:.4f}" for a in frame.reshape(-1)]
            file.write(" ".join(row) + "\n")


def euler_angles(rotations: np.ndarray) -> np.ndarray:
    """Converts quaternions [n joints 4] to angles [n joints 3] (z, x, y), degrees, without jumps.

    Of the two ways to write a rotation, the one nearer to the previous frame is taken, and whole
    turns are added as needed: programs that interpolate must not see 179 next to -179.
    """
    n, joints = rotations.shape[:2]
    flat = np.clip(rotations.reshape(-1, 4), -1, 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # at x = 90 degrees, any y will do
        angles = Rotation.from_quat(flat).as_euler("ZXY", degrees=True).reshape(n, joints, 3)
    for before, now in zip(angles, angles[1:]):
        other = _SAME + now * [1, -1, 1]
        near, far = (before + _wrapped(choice - before) for choice in (now, other))
        farther = np.abs(near - before).sum(-1) > np.abs(far - before).sum(-1)
        now[:] = np.where(farther[:, None], far, near)
    return angles


def _wrapped(degrees: np.ndarray) -> np.ndarray:
    return (degrees + 180) % 360 - 180


def _depth_first(parents: tuple[int, ...], joint: int = 0) -> list[int]:
    children = [i for i, parent in enumerate(parents) if parent == joint]
    return [joint] + [below for child in children for below in _depth_first(parents, child)]


def _joint(joint: int, animation: Animation, parents: tuple[int, ...], depth: int) -> str:
    """Returns the text of a joint and all joints below it."""
    pad = "\t" * depth
    offsets = animation.offsets(parents)
    kind, channels = ("JOINT", f"3 {ROTATIONS}")
    if joint == 0:
        kind, channels = "ROOT", f"6 Xposition Yposition Zposition {ROTATIONS}"
    text = f"{pad}{kind} {JOINT_NAMES[joint]}\n{pad}{{\n"
    text += f"{pad}\tOFFSET {_numbers(offsets[joint])}\n{pad}\tCHANNELS {channels}\n"
    children = [i for i, parent in enumerate(parents) if parent == joint]
    for child in children:
        text += _joint(child, animation, parents, depth + 1)
    if not children:  # half a bone, so that programs draw the last joint
        text += f"{pad}\tEnd Site\n{pad}\t{{\n"
        text += f"{pad}\t\tOFFSET {_numbers(offsets[joint] / 2)}\n{pad}\t}}\n"
    return text + f"{pad}}}\n"


def _numbers(vector: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in vector)
