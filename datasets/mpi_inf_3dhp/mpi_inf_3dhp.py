"""The TFDS builder `mpi_inf_3dhp`."""

from __future__ import annotations

import argparse
from pathlib import Path

from maed_jax.errors import UserError

from ..source import ImagesBuilder
from .annotations import RECORDINGS
from .people import HEADS, TEST_SIZES, Task, fits_of, read_people

CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)  # those at chest height, as in vnect_cameras.zip
CUT_SHORT = ("S6/Seq2", 2)  # this video ends early, and earlier frames may be missing too
# Where the test set may be, below the given folder.
TEST_FOLDERS = ("mpi_inf_3dhp_test_set", "mpi_inf_3dhp_test_set/mpi_inf_3dhp_test_set", ".")


class MpiInf3dhp(ImagesBuilder):
    """MPI-INF-3DHP as its owner's scripts download it; see docs/datasets.md.

    DIR contains S1/Seq1/{annot.mat, camera.calibration, imageSequence/video_0.avi} and so on, and
    mpi_inf_3dhp_test_set/TS1/{annot_data.mat, imageSequence/img_000001.jpg}. Images may also be
    extracted, as S1/Seq1/imageFrames/video_0/frame_000001.jpg or S1/Seq1/video_0/000001.jpg.
    """

    name = "mpi_inf_3dhp"
    can_be_partial = True
    read = staticmethod(read_people)

    def __init__(
        self, *, cameras=CAMERAS, every: int = 1, head: str = "maed",
        test_joints: str = "univ_annot3", spin: str | None = None, spin_fits: str | None = None,
        **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.cameras, self.every, self.head = tuple(cameras), every, head
        self.universal = test_joints == "univ_annot3"
        if every < 1:
            raise UserError("--every must be 1 or more")
        if spin_fits and not spin:
            raise UserError("--spin_fits needs --spin, whose rows say which frame a fit belongs to")
        self.spin = (spin, spin_fits) if spin else None

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--cameras", type=int, nargs="+", default=CAMERAS, metavar="N",
            help="cameras of training sequences; default: the eight in vnect_cameras.zip",
        )  # fmt: skip
        parser.add_argument(
            "--every", type=int, default=1, metavar="N", help="keep every Nth training frame"
        )
        parser.add_argument(
            "--head", choices=list(HEADS), default="maed",
            help="names of the two head points: the original's or SPIN's",
        )  # fmt: skip
        parser.add_argument(
            "--test_joints", choices=("univ_annot3", "annot3"), default="univ_annot3",
            help="3D labels of the test split: people scaled to one height, as in the official "
            "evaluation and in papers, or as measured",
        )  # fmt: skip
        parser.add_argument(
            "--spin", metavar="NPZ", help="SPIN's mpi_inf_3dhp_train.npz, for pose and shape"
        )
        parser.add_argument(
            "--spin_fits", metavar="NPZ",
            help="SPIN's mpi-inf-3dhp_mview_fits.npz, if the fits of those rows are separate",
        )  # fmt: skip

    def tasks(self) -> dict[str, list[Task]]:
        train, missing = self._train()
        test, missing_test = self._test()
        if not train and not test:
            raise UserError(
                f"{self.manual_dir} does not have MPI-INF-3DHP's layout: it has neither "
                "S1/Seq1/annot.mat nor mpi_inf_3dhp_test_set/TS1/annot_data.mat"
            )
        self.report_missing(missing + missing_test)
        if self.spin:
            fits_of(self.spin)  # reports mistakes in it early
        return {"train": train, "test": test}

    def _train(self) -> tuple[list[Task], list[str]]:
        tasks, missing = [], []
        for name in RECORDINGS:
            folder = self.manual_dir / name
            files = (folder / "annot.mat", folder / "camera.calibration")
            lacking = [f"{name}/{file.name}" for file in files if not file.is_file()]
            missing += lacking
            for camera in self.cameras if not lacking else ():
                candidates = (
                    folder / "imageSequence" / f"video_{camera}.avi",
                    folder / "imageFrames" / f"video_{camera}",
                    folder / f"video_{camera}",
                )
                unused = (name, camera) == CUT_SHORT
                video = next((path for path in candidates if path.exists()), None)
                if video is None and not unused:
                    missing.append(f"{name}/imageSequence/video_{camera}.avi")
                else:
                    video = None if unused else video
                    tasks.append(self._task(folder, name, camera, video))
        return tasks, missing

    def _test(self) -> tuple[list[Task], list[str]]:
        tasks, missing = [], []
        for name in TEST_SIZES:
            folders = (self.manual_dir / parent / name for parent in TEST_FOLDERS)
            folder = next((path for path in folders if (path / "annot_data.mat").is_file()), None)
            if folder is None:
                missing.append(f"{TEST_FOLDERS[0]}/{name}/annot_data.mat")
            elif not (folder / "imageSequence").is_dir():
                missing.append(f"{TEST_FOLDERS[0]}/{name}/imageSequence")
            else:
                tasks.append(self._task(folder, name, None, folder / "imageSequence"))
        return tasks, missing

    def _task(self, folder: Path, name: str, camera: int | None, video: Path | None) -> Task:
        return Task(folder, name, camera, video, self.every, self.head, self.spin, self.universal)
