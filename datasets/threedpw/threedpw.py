"""The TFDS builder `threedpw` ("3dpw" on the command line)."""

from __future__ import annotations

import argparse

from maed_jax.errors import UserError

from ..source import ImagesBuilder
from .body import check_body
from .people import Task, read_people

SPLITS = ("train", "validation", "test")


class Threedpw(ImagesBuilder):
    """3DPW from its owner's archives imageFiles.zip and sequenceFiles.zip; see docs/datasets.md.

    DIR contains imageFiles/<sequence>/image_00000.jpg and sequenceFiles/<split>/<sequence>.pkl.
    """

    can_be_partial = True
    read = staticmethod(read_people)

    def __init__(self, *, body: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.body = body

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--body", metavar="PATH",
            help="SMPL, for 3D keypoints to train on: a folder with SMPL_MALE and SMPL_FEMALE, or "
            "the file of one body for everyone, such as the neutral one that the original uses; "
            "J_regressor_extra.npy must be next to it. Without --body, records have pose and shape "
            "but no 3D keypoints; evaluation needs none",
        )  # fmt: skip

    def tasks(self) -> dict[str, list[Task]]:
        files = {
            split: sorted((self.manual_dir / "sequenceFiles" / split).glob("*.pkl"))
            for split in SPLITS
        }
        if not any(files.values()):
            raise UserError(
                f"{self.manual_dir} does not have 3DPW's layout: there is no "
                "sequenceFiles/{train,validation,test}/*.pkl"
            )
        images = self.manual_dir / "imageFiles"
        missing = [f"sequenceFiles/{split}" for split in SPLITS if not files[split]]
        missing += [
            f"imageFiles/{file.stem}"
            for split in SPLITS
            for file in files[split]
            if not (images / file.stem).is_dir()
        ]
        self.report_missing(missing)
        if self.body:
            check_body(self.body)
        return {
            split: [
                Task(file, images / file.stem, split == "train", self.body)
                for file in files[split]
                if (images / file.stem).is_dir()
            ]
            for split in SPLITS
        }
