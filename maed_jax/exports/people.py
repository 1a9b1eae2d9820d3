"""Writes people's files for other programs, by the names of their formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maed_jax.body.smpl import Body
from maed_jax.errors import UserError
from maed_jax.exports.amass import write_amass
from maed_jax.exports.bvh import write_bvh
from maed_jax.exports.glb import write_glb
from maed_jax.exports.obj import write_obj_sequence
from maed_jax.exports.pc2 import write_pc2
from maed_jax.inference.results import Person

FORMATS = ("glb", "bvh", "obj", "pc2", "amass")
SCENE = "people.glb"


def parse_formats(text: str) -> tuple[str, ...]:
    """Parses a list of formats such as "glb,bvh".

    Raises:
      UserError: the list is empty or contains an unknown format.
    """
    choice = ",".join(FORMATS)
    formats = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"there is no export format {name!r}; choose from {choice}")
    if not formats:
        raise UserError(f"--export names no format; choose from {choice}")
    return formats


def export_people(
    formats: Sequence[str], people: Sequence[Person], body: Body, folder: Path
) -> list[str]:
    """Writes every person in every format, and for GLB a scene of all people, if there are any.

    Returns:
      The names of the files (for an OBJ sequence, of its folder) in `folder`.

    Raises:
      OSError: a file cannot be written.
    """
    names = []

    def new(name: str) -> Path:
        names.append(name)
        return folder / name

    for person in people:
        if "glb" in formats:
            write_glb(new(f"person_{person.id}.glb"), [person], body)
        if "bvh" in formats:
            write_bvh(new(f"person_{person.id}.bvh"), person, body)
        if "obj" in formats:
            write_obj_sequence(new(f"person_{person.id}_obj"), person, body)
        if "pc2" in formats:
            write_pc2(new(f"person_{person.id}.pc2"), person, body)
        if "amass" in formats:
            write_amass(new(f"person_{person.id}_amass.npz"), person, body)
    if "glb" in formats and people:
        write_glb(new(SCENE), people, body)
    return names
