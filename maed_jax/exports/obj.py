"""A person as a sequence of OBJ files: the exact mesh of every frame. Metres, y up."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from maed_jax.body.smpl import Body, pose_body
from maed_jax.chunks import in_chunks
from maed_jax.exports.animation import UP_FROM_CAMERA
from maed_jax.inference.results import Person

CHUNK = 32  # frames whose vertices are computed at a time


def write_obj_sequence(folder: str | Path, person: Person, body: Body) -> None:
    """Writes `<frame of the video, six digits>.obj` for every frame into a new folder.

    Raises:
      OSError: the folder or a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir()
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in np.asarray(body.faces) + 1)
    head = f"o person_{person.id}\ns 1\n"  # one smooth surface
    row = "v %.5f %.5f %.5f\n"
    for frame, verts in zip(person.frames, posed_verts(person, body)):
        text = row * len(verts) % tuple((verts @ UP_FROM_CAMERA).reshape(-1).tolist())
        (folder / f"{frame:06d}.obj").write_text(head + text + faces, encoding="ascii")


def posed_verts(person: Person, body: Body) -> Iterator[np.ndarray]:
    """Yields the vertices [verts 3] of every frame, in metres, in the frame of the full image's
    camera."""
    verts_of = functools.partial(_verts, body)
    for rows, verts in in_chunks(verts_of, CHUNK, person.rotmat, person.shape):
        yield from verts + person.translation[rows, None]


@jax.jit
def _verts(body: Body, rotmat: jax.Array, shape: jax.Array) -> jax.Array:
    return pose_body(body, rotmat, shape).verts
