"""Finds the images that a database names by paths on someone else's machine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from maed_jax.data.images import ENDINGS
from maed_jax.errors import UserError

SAMPLE = 16
MAX_NAME = 1024  # characters in a name


@dataclasses.dataclass(frozen=True)
class ImageNames:
    """Converts names in a database to paths."""

    root: Path | None = None
    """folder below which the ends of the names are; None: the names are complete paths"""
    skip: int = 0
    """how many leading parts of each name to drop"""

    def path(self, name: str) -> Path:
        return Path(name) if self.root is None else self.root.joinpath(*_parts(name)[self.skip :])


def check_names(names: Sequence[str], database: Path) -> None:
    """Checks that all names in a database are those of images, as they may lead anywhere.

    Raises:
      UserError: one is not.
    """
    for name in map(str, names):
        if len(name) > MAX_NAME or not name.lower().endswith(ENDINGS):
            raise UserError(
                f"{database} names {name[:80]!r} as an image, but an image's name ends in "
                f"{', '.join(ENDINGS)}"
            )


def find_images(names: Sequence[str], root: Path | None, database: Path) -> ImageNames:
    """Finds out how to convert names to paths by trying some of them.

    Args:
      names: the first image of each track, or each still.
      root: folder of the images; None: where the names say.
      database: the file, for messages.

    Raises:
      UserError: there are no such images, or what remains of the names would not distinguish the
        folders that they come from.
    """
    sample = [str(names[i * (len(names) - 1) // SAMPLE]) for i in range(SAMPLE + 1)]
    if root is None:
        if any(os.path.isfile(name) for name in sample):
            return ImageNames()
        raise UserError(
            f"{database} names images such as {sample[0]}, which do not exist: set --image_root "
            "to the folder that has them"
        )
    hits = [0] * max(len(_parts(name)) for name in sample)
    for name in sample:
        for skip in range(len(_parts(name))):
            hits[skip] += os.path.isfile(root.joinpath(*_parts(name)[skip:]))
    if not any(hits):
        raise UserError(
            f"{database} names images such as {sample[0]}, but {root} has none under that name or "
            "the end of it: set --image_root to the folder that has them"
        )
    skip = hits.index(max(hits))  # the longest end among equally good ones
    folders = {tuple(_parts(name)[:-1]) for name in map(str, names)}
    if len({folder[skip:] for folder in folders}) < len(folders):
        raise UserError(
            f"{root} is too deep: without the first {skip} parts of names such as {sample[0]}, "
            "different folders become the same; set --image_root to a folder further up"
        )
    return ImageNames(root, skip)


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
