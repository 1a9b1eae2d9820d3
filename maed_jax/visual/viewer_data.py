"""The viewer page's data: a results folder packed into one compressed byte string.

The page itself poses and skins the bodies, on the GPU, from the inputs of `pose_body`: the body
once, and some 400 bytes per person and frame. People's numbers are exactly those of their `.npz`;
only the body's blend shapes (to `STEP`) and the attention (for display) are rounded.

Format: gzip of the header's length (little-endian uint32), the header (JSON: "meta", and each
array's type, shape and offset) and the arrays, each aligned to eight bytes.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from maed_jax.body.skeleton import JOINT_NAMES, KEYPOINT_NAMES
from maed_jax.body.smpl import Body
from maed_jax.body.surface import INFLUENCES, Surface, strongest_weights
from maed_jax.errors import UserError
from maed_jax.inference.results import Person
from maed_jax.visual.colors import color_of

if TYPE_CHECKING:  # it imports the model
    from maed_jax.inference.person_attention import Attention

STEP = 2e-5  # metres per unit of a blend shape; moves a vertex by less than 0.2 mm in all
TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32")  # as JavaScript has them
FEET = tuple(i for i, name in enumerate(KEYPOINT_NAMES) if name.endswith(("Toe", "Heel")))


def body_arrays(body: Body) -> dict[str, np.ndarray]:
    """Returns the page's arrays of a body, by name.

    Raises:
      UserError: a vertex follows more than four joints, or blend shapes are too large for `STEP`.
    """
    template, faces = np.asarray(body.template, np.float32), np.asarray(body.faces)
    weights = np.asarray(body.skin_weights)
    if np.sort(weights, axis=1)[:, :-INFLUENCES].sum(axis=1).max() > 1e-3:
        raise UserError(
            f"the viewer cannot show a body whose vertices follow more than {INFLUENCES} joints"
        )
    joints, weights = strongest_weights(weights)
    directions = np.concatenate([np.asarray(body.shape_dirs), np.asarray(body.pose_dirs)], axis=-1)
    steps = np.round(directions / STEP)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise UserError("the viewer cannot show a body whose shapes move it by more than 0.6 m")
    return {
        "template": template,
        "normals": Surface(faces, len(template)).normals(template).astype(np.float32),
        "faces": faces.astype(np.uint16 if len(template) < 2**16 else np.uint32),
        "skin_joints": joints,
        "skin_weights": weights,
        # [betas + pose features, verts, 3]
        "directions": steps.transpose(2, 0, 1).astype(np.int16),
        "rest_joints": np.asarray(body.rest_joints, np.float32),
        "rest_joint_dirs": np.asarray(body.rest_joint_dirs, np.float32),
        "parents": np.asarray(body.parents, np.int32),
    }


def person_arrays(person: Person) -> dict[str, np.ndarray]:
    """Returns the page's arrays of a person, by name, with the numbers of their file."""
    names = ("pose", "shape", "translation", "camera", "boxes", "crops")
    return {name: np.asarray(getattr(person, name), np.float32) for name in names} | {
        "frames": person.frames.astype(np.int32),
        "detected": person.detected.astype(np.uint8),
    }


def floor_height(people: list[Person]) -> float:
    """Returns the floor's y in the camera frame (down), metres: where most feet are lowest."""
    lowest = [
        (person.keypoints_3d[:, FEET, 1].max(axis=1) + person.translation[:, 1])
        for person in people
    ]
    return float(np.percentile(np.concatenate(lowest), 75)) + 0.02  # keypoints lie on the skin


def frame_times(content: dict, people: list[Person]) -> np.ndarray:
    """Returns the time of every frame in seconds, from people's files or else the frame rate."""
    count, fps = content["video"]["frames"], content["video"]["fps"]
    times = np.arange(count) / fps
    person_times = np.full(count, np.nan)
    for person in people:
        person_times[person.frames] = person.times
    known = np.flatnonzero(np.isfinite(person_times))
    if len(known):
        times = np.interp(np.arange(count), known, person_times[known])
        times[: known[0]] = person_times[known[0]] + (np.arange(known[0]) - known[0]) / fps
        times[known[-1] + 1 :] = person_times[known[-1]] + np.arange(1, count - known[-1]) / fps
    return times


def page_data(
    content: dict,
    people: list[Person],
    body: Body,
    *,
    title: str,
    attention: Mapping[int, Attention] | None = None,
    overlay: bool = False,
) -> bytes:
    """Packs everything that the page shows except the video.

    Args:
      content: of results.json.
      title: of the page.
      attention: by person id; not everybody needs any.
      overlay: whether the page's video is the overlay video, with bodies in it.
    """
    attention = attention or {}
    arrays = {f"body/{name}": array for name, array in body_arrays(body).items()}
    arrays["times"] = frame_times(content, people).astype(np.float32)
    for person in people:
        for name, array in person_arrays(person).items():
            arrays[f"{person.id}/{name}"] = array
        if person.id in attention:
            for name, array in attention_arrays(attention[person.id]).items():
                arrays[f"{person.id}/attention/{name}"] = array
    meta = {
        "title": title,
        "body": body.name,
        "video": {"size": [content["video"]["width"], content["video"]["height"]]},
        "overlay": overlay,
        "step": STEP,
        "floor": floor_height(people),
        "intrinsics": people[0].intrinsics.tolist(),
        "joints": list(JOINT_NAMES),
        "people": [{"id": person.id, "color": color_of(person.id)} for person in people],
    }
    return pack(meta, arrays)


def attention_arrays(attention: Attention) -> dict[str, np.ndarray]:
    """Returns attention for display: uint8, 255 for 1; heat maps relative to their maximum."""
    out = {"blocks": attention.blocks.astype(np.int32)}
    if attention.clip_frames is not None:
        out["clip_frames"] = attention.clip_frames.astype(np.int32)
    for name in ("space", "time", "gates", "joints"):
        if (array := getattr(attention, name)) is not None:
            array = array.astype(np.float32)
            if name == "space":
                array = array / np.maximum(array.max(axis=(-2, -1), keepdims=True), 1e-9)
            out[name] = np.round(255 * np.clip(array, 0, 1)).astype(np.uint8)
    return out


def pack(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """Packs meta and arrays into one byte string (see the module's docstring)."""
    index, chunks, offset = {}, [], 0
    for name, array in arrays.items():
        if array.dtype.name not in TYPES:
            raise TypeError(f"{name} is {array.dtype}")
        data = np.ascontiguousarray(array).tobytes()
        index[name] = {"type": array.dtype.name, "shape": array.shape, "offset": offset}
        chunks += [data, bytes(-len(data) % 8)]
        offset += len(data) + -len(data) % 8
    header = json.dumps({"meta": meta, "arrays": index}).encode()
    header += b" " * (-(len(header) + 4) % 8)
    return gzip.compress(struct.pack("<I", len(header)) + header + b"".join(chunks), 6, mtime=0)
