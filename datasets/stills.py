"""People in still images (COCO, MPII, LSP-Extended), and SMPL fits to them."""

from __future__ import annotations

import abc
import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maed_jax.arguments import from_zero
from maed_jax.errors import UserError

from .person import Dropped, Person, PersonTrack
from .smpl_labels import Eft, Spin, read_eft, read_spin
from .source import ImagesBuilder

CHUNK = 200  # people per task
MAX_DISTANCE = 0.1  # largest distance of a fit from its person, relative to the box's longer side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Still:
    """One person in one image."""

    image: Path
    name: str
    """unique within the split"""
    keypoints_2d: np.ndarray
    """[49 3] pixels, confidence"""
    box: np.ndarray
    """[4] centre x, centre y, width, height in pixels, without margin"""
    annotation: int = -1
    """the owner's annotation id, if fits refer to it; else -1"""
    pose: np.ndarray | None = None
    shape: np.ndarray | None = None
    reason: str = ""
    """why the person is left out; empty if not"""


def read_stills(task: Sequence[Still], dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields each person as a track of one frame."""
    for still in task:
        if still.reason:
            dropped[still.reason] += 1
            continue
        person = Person(
            image=still.image,
            keypoints_2d=still.keypoints_2d,
            box=still.box,
            pose=still.pose,
            shape=still.shape,
        )
        yield PersonTrack(still.name, [person])


class StillsBuilder(ImagesBuilder, skip_registration=True):
    """A dataset of still images for which others have made SMPL fits."""

    read = staticmethod(read_stills)
    one_person_per_image = False

    def __init__(
        self,
        *,
        eft: Sequence[str | Path] = (),
        spin: str | Path | None = None,
        spin_fits: str | Path | None = None,
        min_keypoints: int = 6,
        labelled_only: bool = False,
        **kwargs,
    ):
        """See `add_arguments` for the meaning of the arguments."""
        super().__init__(**kwargs)
        self.eft = [eft] if isinstance(eft, str | Path) else list(eft or ())
        self.spin, self.spin_fits = spin, spin_fits
        self.min_keypoints, self.labelled_only = min_keypoints, labelled_only

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--eft", nargs="+", metavar="JSON", help="EFT's SMPL fits")
        parser.add_argument("--spin", metavar="NPZ", help="SPIN's rows (dataset_extras)")
        parser.add_argument(
            "--spin_fits", metavar="NPY", help="SPIN's SMPL fits to those rows (static_fits)"
        )
        parser.add_argument(
            "--min_keypoints", type=from_zero, default=6, metavar="N",
            help="leave out people with fewer labelled keypoints (default: 6)",
        )  # fmt: skip
        parser.add_argument(
            "--labelled_only", action="store_true", help="leave out people without an SMPL fit"
        )

    @abc.abstractmethod
    def people(self) -> dict[str, list[Still]]:
        """Returns everyone in the owner's files: split -> people.

        Raises:
          UserError: as `tasks`.
        """

    def tasks(self) -> dict[str, list[tuple[Still, ...]]]:
        everyone = self.people()
        fits = Fits()
        for path in self.eft:
            fits.add_eft(read_eft(path))
        if self.spin or self.spin_fits:
            fits.add_spin(read_spin(self.spin or self.spin_fits, self.spin and self.spin_fits))
        tasks = {}
        for split, stills in everyone.items():
            chosen = [self._choose(still, fits) for still in stills]
            tasks[split] = [
                tuple(chosen[first : first + CHUNK]) for first in range(0, len(chosen), CHUNK)
            ]
        if fits.total:
            print(f"{fits.used} of {fits.total} SMPL fits matched a person", file=sys.stderr)
        return tasks

    def _choose(self, still: Still, fits: Fits) -> Still:
        smpl = fits.find(still, self.one_person_per_image)
        if smpl is not None:
            still = dataclasses.replace(still, pose=smpl[0], shape=smpl[1])
        if still.reason:
            return still
        if (still.keypoints_2d[:, 2] > 0).sum() < self.min_keypoints:
            return dataclasses.replace(still, reason="too few keypoints")
        if self.labelled_only and smpl is None:
            return dataclasses.replace(still, reason="no SMPL fit")
        return still


class Fits:
    """SMPL fits by image, to be matched to the people they were made for.

    Attributes:
      total: how many fits there are.
      used: how many were matched to a person.
    """

    def __init__(self):
        self.total, self.used = 0, 0
        self._by_image: dict[str, list[dict]] = {}
        self._by_annotation: dict[tuple[str, int], dict] = {}

    def add_eft(self, fits: Eft) -> None:
        for row, name in enumerate(fits.image):
            self._add(name, {
                "points": fits.keypoints_2d[row], "centre": fits.box[row, :2],
                "smpl": (fits.pose[row], fits.shape[row]), "annotation": fits.annotation[row],
            })  # fmt: skip

    def add_spin(self, fits: Spin) -> None:
        """Adds SPIN's rows.

        Raises:
          UserError: they do not say whose fits they are.
        """
        if fits.imgname is None or fits.center is None:
            raise UserError(
                "SPIN's fits alone do not say whose they are: set --spin to the .npz of its "
                "dataset_extras, with imgname and center, and --spin_fits to the fits"
            )
        for row, name in enumerate(fits.imgname):
            if not fits.has_smpl[row]:
                continue
            points = np.zeros((49, 3))
            if fits.part is not None:
                points[25:] = fits.part[row]
            self._add(name, {
                "points": points, "centre": fits.center[row],
                "smpl": (fits.pose[row], fits.shape[row]), "annotation": -1,
            })  # fmt: skip

    def _add(self, name: str, fit: dict) -> None:
        key = Path(name).stem
        self.total += 1
        self._by_image.setdefault(key, []).append(fit)
        if fit["annotation"] >= 0:
            self._by_annotation.setdefault((key, int(fit["annotation"])), fit)

    def find(self, still: Still, single: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns a person's pose [72] and shape [10], or None if there is no fit.

        A fit names its image. Several in one image are matched by annotation id or, without one, by
        keypoints or else by the box's centre.

        Args:
          single: images show one person each, so that no distances need to be compared.
        """
        key = still.image.stem
        fit = self._by_annotation.get((key, still.annotation))
        if fit is None:
            candidates = self._by_image.get(key, ())
            candidates = [f for f in candidates if f["annotation"] < 0 or still.annotation < 0]
            ranked = [(0.0 if single else _distance(still, f), i) for i, f in enumerate(candidates)]
            distance, index = min(ranked, default=(np.inf, 0))
            fit = candidates[index] if distance < MAX_DISTANCE else None
        if fit is None:
            return None
        self.used += 1
        return fit["smpl"]


def _distance(still: Still, fit: dict) -> float:
    """Returns how far a fit is from a person, relative to the longer side of the person's box."""
    points, fitted = still.keypoints_2d, fit["points"]
    shared = (points[:, 2] > 0) & (fitted[:, 2] > 0)
    if shared.any():
        pixels = np.median(np.linalg.norm(points[shared, :2] - fitted[shared, :2], axis=-1))
    else:
        pixels = np.linalg.norm(still.box[:2] - fit["centre"])
    side = still.box[2:].max()
    return float(pixels / side) if side > 0 else np.inf
