"""The TFDS builder `mpii`: MPII Human Pose (Andriluka et al., CVPR 2014)."""

from __future__ import annotations

import argparse
from pathlib import Path

from maed_jax.errors import UserError

from ..stills import Still, StillsBuilder
from . import annotations

RELEASE = "mpii_human_pose_v1_u12_1.mat"
TABLES = {"train": "train.h5", "validation": "valid.h5"}


class Mpii(StillsBuilder):
    """MPII Human Pose (human-pose.mpi-inf.mpg.de), both archives unpacked:

    DIR/mpii_human_pose_v1/images/*.jpg (or DIR/images, or DIR itself)
    DIR/mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat (or DIR itself)

    or, instead of the second, the tables train.h5 and valid.h5 of pose-hg-train, in DIR or
    DIR/annot. If both exist, --table selects one (default: the owner's).

    SMPL fits: --eft MPII_ver01.json, or --spin mpii_train.npz --spin_fits mpii_fits.npy. People
    without a fit keep their keypoints.
    """

    def __init__(self, *, table: str | None = None, validation: str | Path | None = None, **kwargs):
        """
        Args:
          table: "release" or "newell".
          validation: file with the names of images to hold out.
        """
        super().__init__(**kwargs)
        self.table, self.validation = table, validation

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--table", choices=("release", "newell"), help="the owner's .mat or Newell's .h5 files"
        )
        parser.add_argument(
            "--validation", metavar="TXT",
            help="file with the names of the validation split's images, one per line (Newell's "
            "valid_images.txt); without it, the owner's table is all for training",
        )  # fmt: skip

    def people(self) -> dict[str, list[Still]]:
        folder = self._image_folder()
        release = self._find(RELEASE, ("mpii_human_pose_v1_u12_2", "."))
        tables = {split: self._find(name, (".", "annot")) for split, name in TABLES.items()}
        if self.table != "newell" and release:
            return annotations.read_release(release, folder, self._held_out())
        if self.table != "release" and tables["train"]:
            if self.validation:
                raise UserError("--validation is for the owner's table; Newell's has valid.h5")
            return {
                split: annotations.read_newell(path, folder)
                for split, path in tables.items()
                if path
            }
        missing = {"release": RELEASE, "newell": TABLES["train"]}.get(self.table)
        raise UserError(
            f"{self.manual_dir} lacks {missing or f'{RELEASE} (or train.h5)'}: "
            "maed data build mpii --help shows the layout"
        )

    def _image_folder(self) -> Path:
        for name in ("mpii_human_pose_v1/images", "images", "."):
            folder = self.manual_dir / name
            if any(folder.glob("*.jpg")):
                return folder
        raise UserError(
            f"{self.manual_dir} lacks images: unpack mpii_human_pose_v1.tar.gz there, so that "
            f"{self.manual_dir}/images/*.jpg exists"
        )

    def _find(self, name: str, folders: tuple[str, ...]) -> Path | None:
        paths = (self.manual_dir / folder / name for folder in folders)
        return next((path for path in paths if path.is_file()), None)

    def _held_out(self) -> frozenset[str]:
        if not self.validation:
            return frozenset()
        try:
            return frozenset(Path(self.validation).read_text().split())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.validation} cannot be read ({error})") from None
