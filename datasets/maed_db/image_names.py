"""Finds the pictures that a database names by paths of somebody's machine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from maed_jax.data.images import ENDINGS
from maed_jax.errors import UserError

SAMPLE = 16
LONGEST = 1024  # characters of a name


@dataclasses.dataclass(frozen=True)
class ImageNames:
    """Turns names of a database into paths."""

    root: Path | None = None
    """folder that the ends of the names are below; None: the names are paths as they are"""
    skip: int = 0
    """leading parts of each name to leave out"""

    def path(self, name: str) -> Path:
        return Path(name) if self.root is None else self.root.joinpath(*_parts(name)[self.skip :])


def check_names(names: Sequence[str], database: Path) -> None:
    """Whether all names of a database are those of pictures: they may lead anywhere.

    Raises:
      UserError: one is not.
    """
    for name in map(str, names):
        if len(name) > LONGEST or not name.lower().endswith(ENDINGS):
            raise UserError(
                f"{database} names {name[:80]!r} as a picture, and a picture's name ends in "
                f"{', '.join(ENDINGS)}"
            )


def find_images(names: Sequence[str], root: Path | None, database: Path) -> ImageNames:
    """How to turn names into paths, tried on some of them.

    Args:
      names: the first of each track, or of each picture. root: where pictures are; None: where the
        names say. database: the file, for messages.

    Raises:
      UserError: there are no such pictures, or what is left of the names would not tell the
        folders apart that they come from.
    """
    sample = [str(names[i * (len(names) - 1) // SAMPLE]) for i in range(SAMPLE + 1)]
    if root is None:
        if any(os.path.isfile(name) for name in sample):
            return ImageNames()
        raise UserError(
            f"{database} names pictures such as {sample[0]}, which are not there: give "
            "--image_root the folder that has them"
        )
    found = [0] * max(len(_parts(name)) for name in sample)
    for name in sample:
        for skip in range(len(_parts(name))):
            found[skip] += os.path.isfile(root.joinpath(*_parts(name)[skip:]))
    if not any(found):
        raise UserError(
            f"{database} names pictures such as {sample[0]}, and {root} has none under the whole "
            "or the end of that name: give --image_root the folder that has them"
        )
    skip = found.index(max(found))  # the longest end, of equally good ones
    whole = {tuple(_parts(name)[:-1]) for name in map(str, names)}
    if len({folder[skip:] for folder in whole}) < len(whole):
        raise UserError(
            f"{root} is too deep: without the first {skip} parts of names such as {sample[0]} "
            "different folders are the same; give --image_root a folder further up"
        )
    return ImageNames(root, skip)


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
