"""A person's exact mesh in every frame, as a point cache (PC2) for the mesh of their GLB.

Metres, z up, as in Blender and 3ds Max: a point (x, y, z) in front of the camera is at (x, z, -y).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from maed_jax.body.smpl import Body
from maed_jax.exports.obj import posed_verts
from maed_jax.inference.results import Person

Z_UP_FROM_CAMERA = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
_HEADER = "<12siiffi"  # signature, version, vertices, first frame, frames per sample, samples


def write_pc2(path: str | Path, person: Person, body: Body) -> None:
    """Writes one sample per frame of the video, from the person's first to their last; in the gaps
    of a track, the last sample is repeated.

    Raises:
      OSError: the file cannot be written.
    """
    first, last = int(person.frames[0]), int(person.frames[-1])
    repeats = np.diff(person.frames, append=last + 1)
    header = (b"POINTCACHE2\0", 1, len(body.template), first, 1.0, last - first + 1)
    with open(path, "wb") as file:
        file.write(struct.pack(_HEADER, *header))
        for verts, count in zip(posed_verts(person, body), repeats):
            sample = (verts @ Z_UP_FROM_CAMERA.T).astype("<f4").tobytes()
            for _ in range(count):
                file.write(sample)
