"""People as animated GLB (glTF 2.0): a skinned mesh on a 24-joint skeleton, keyed in every frame.

Can be opened by Blender, browsers and game engines. Metres, y up; see `exports.animation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import maed_jax
from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.body.smpl import Body
from maed_jax.body.surface import Surface, strongest_weights
from maed_jax.exports.animation import Animation, animate, ascending
from maed_jax.exports.gltf import ARRAY, ELEMENTS, Gltf
from maed_jax.inference.results import Person
from maed_jax.inference.track import stretches
from maed_jax.visual.colors import color_of

# The scale of people who are not in view. Not zero, because programs divide by it; and on the root
# joint, because many programs handle that better than on its parent. A person is then 2 mm tall.
HIDDEN = 1e-3


def write_glb(path: str | Path, people: Sequence[Person], body: Body) -> None:
    """Writes people who were reconstructed with `body` as one scene.

    Keys are at the people's `times`. The scene lasts from the video's first frame to the last frame
    of any person. Outside their track and in its gaps, people are scaled to `HIDDEN`. The scene
    includes the video's camera.

    Raises:
      OSError: the file cannot be written.
    """
    gltf = Gltf(f"maed_jax {maed_jax.__version__}")
    animations = [animate(person, body) for person in people]
    last = max(animation.times[-1] + animation.frame_time for animation in animations)
    roots, samplers, channels = [], [], []

    def add_channel(
        node: int, path: str, times: int, values: np.ndarray, interpolation: str
    ) -> None:
        output = gltf.array(values.astype(np.float32))
        samplers.append({"input": times, "output": output, "interpolation": interpolation})
        target = {"node": node, "path": path}
        channels.append({"sampler": len(samplers) - 1, "target": target})

    for animation in animations:
        joints = _add_skeleton(gltf, animation, body)
        name = f"person_{animation.id}"
        person = gltf.add("nodes", {"name": name, "children": [joints[0]]})
        roots += [person, _add_mesh(gltf, animation, body, joints, name)]
        times = gltf.array(animation.times.astype(np.float32), bounds=True)
        add_channel(joints[0], "translation", times, animation.positions, "LINEAR")
        for number, joint in enumerate(joints):
            add_channel(joint, "rotation", times, animation.rotations[:, number], "LINEAR")
        when, visible = visibility(animation, last)
        if len(when) > 1:
            scales = np.tile(np.where(visible, 1, HIDDEN), (3, 1)).T
            add_channel(joints[0], "scale", gltf.array(when, bounds=True), scales, "STEP")
    gltf.add("animations", {"name": "motion", "samplers": samplers, "channels": channels})
    roots.append(_add_camera(gltf, people[0].intrinsics))
    gltf.content["scene"] = gltf.add("scenes", {"nodes": roots})
    gltf.write(path)


def visibility(animation: Animation, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns when a person appears and disappears in a scene from 0 to `last` seconds: ascending
    times float32 [k], and bool [k], whether they are in view from each time on."""
    keys, seen_until = [], 0.0
    for part in stretches(animation.frames):
        start = animation.times[part.start]
        if start > seen_until:
            keys.append((seen_until, False))
        if start > seen_until or not keys:
            keys.append((start, True))
        seen_until = animation.times[part.stop - 1] + animation.frame_time
    if seen_until < last:
        keys.append((seen_until, False))
    when, visible = zip(*keys)
    return ascending(np.array(when)).astype(np.float32), np.array(visible)


def _add_skeleton(gltf: Gltf, animation: Animation, body: Body) -> list[int]:
    """Adds the joints' nodes, posed as in the first frame; returns their indices."""
    first = len(gltf.content.get("nodes", []))
    translations = animation.offsets(body.parents)
    translations[0] = animation.positions[0]
    for number, name in enumerate(JOINT_NAMES):
        node = {
            "name": name,
            "translation": translations[number].tolist(),
            "rotation": animation.rotations[0, number].tolist(),
        }
        children = [first + i for i, parent in enumerate(body.parents) if parent == number]
        gltf.add("nodes", node | ({"children": children} if children else {}))
    return list(range(first, first + len(JOINT_NAMES)))


def _add_mesh(gltf: Gltf, animation: Animation, body: Body, skeleton: list[int], name: str) -> int:
    """Adds the skinned mesh and its material; returns the index of its node."""
    faces = np.asarray(body.faces)
    verts = animation.rest_verts.astype(np.float32)
    joints, weights = strongest_weights(np.asarray(body.skin_weights))
    attributes = {
        "POSITION": gltf.array(verts, target=ARRAY, bounds=True),
        "NORMAL": gltf.array(
            Surface(faces, len(verts)).normals(verts).astype(np.float32), target=ARRAY
        ),
        "JOINTS_0": gltf.array(joints, target=ARRAY),
        "WEIGHTS_0": gltf.array(weights, target=ARRAY),
    }
    linear = [(c / 255) ** 2.2 for c in color_of(animation.id)]
    material = gltf.add(
        "materials",
        {
            "name": name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [*linear, 1.0],
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        },
    )
    primitive = {
        "attributes": attributes,
        "indices": gltf.array(faces.astype(np.uint32).reshape(-1), target=ELEMENTS),
        "material": material,
    }
    mesh = gltf.add("meshes", {"name": name, "primitives": [primitive]})
    to_joint = np.tile(np.eye(4, dtype=np.float32), (len(skeleton), 1, 1))
    to_joint[:, :3, 3] = -animation.rest_joints
    skin = {"joints": skeleton, "inverseBindMatrices": gltf.array(to_joint)}
    skin = gltf.add("skins", {"name": name, "skeleton": skeleton[0]} | skin)
    return gltf.add("nodes", {"name": f"{name}_mesh", "mesh": mesh, "skin": skin})


def _add_camera(gltf: Gltf, intrinsics: np.ndarray) -> int:
    """Adds the video's camera at the origin; returns the index of its node."""
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    lens = {"yfov": 2 * math.atan(cy / fy), "aspectRatio": cx / cy * fy / fx, "znear": 0.05}
    camera = gltf.add("cameras", {"type": "perspective", "perspective": lens})
    return gltf.add("nodes", {"name": "video_camera", "camera": camera})
