"""The TFDS builder `h36m`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from maed_jax.errors import UserError

from ..source import ImagesBuilder
from .labels import check_folder
from .metadata import CAMERAS
from .people import DAMAGED, Task, metadata_of, name_of, read_people, spin_of
from .poses import recordings

SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}


class H36m(ImagesBuilder):
    """Human3.6M as unpacked from its owner's archives or by h36m-fetch; see docs/datasets.md.

    DIR contains metadata.xml and, for each subject, S1/Videos/<action>.<camera>.mp4, poses in
    S1/MyPoseFeatures/{D2_Positions,D3_Positions_mono} or S1/Poses_{D2,D3}_..., and optionally
    S1/MySegmentsMat/ground_truth_bb. Images may also be extracted, named as by SPIN or MMHuman3D.
    """

    can_be_partial = True
    read = staticmethod(read_people)

    def __init__(
        self, *, every: int = 5, metadata: str | None = None, mosh: str | None = None,
        neural_annot: str | None = None, spin: str | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.every = every
        default = self.manual_dir / "metadata.xml"
        self.metadata = (
            Path(metadata).expanduser() if metadata else default if default.is_file() else None
        )
        if every < 1:
            raise UserError("--every must be 1 or more")
        sources = {"mosh": mosh, "neural_annot": neural_annot, "spin": spin}
        labels = [(kind, str(Path(where).expanduser())) for kind, where in sources.items() if where]
        if len(labels) > 1:
            raise UserError("choose one of --mosh, --neural_annot and --spin")
        self.labels = labels[0] if labels else None
        if neural_annot and not self.metadata:
            raise UserError("--neural_annot needs metadata.xml, which has the names of actions")

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--every", type=int, default=5, metavar="N",
            help="keep every Nth of 50 frames per second (default: 5, as is usual)",
        )  # fmt: skip
        parser.add_argument(
            "--metadata", metavar="XML", help="metadata.xml with the cameras (default: in DIR)"
        )
        parser.add_argument(
            "--mosh", metavar="DIR", help="MoSh's SMPL labels: S1/<action>_cam0_aligned.pkl ..."
        )
        parser.add_argument(
            "--neural_annot", metavar="DIR",
            help="NeuralAnnot's SMPL labels: Human36M_subject1_SMPL_NeuralAnnot.json and "
            "Human36M_subject1_camera.json ...",
        )  # fmt: skip
        parser.add_argument(
            "--spin", metavar="NPZ", help="MoSh's SMPL labels in SPIN's h36m_train.npz"
        )

    def tasks(self) -> dict[str, list[Task]]:
        if self.metadata:
            metadata_of(self.metadata)  # reports mistakes in it early
        if self.labels:
            kind, where = self.labels
            if kind == "spin":
                spin_of(where)
            else:
                check_folder(kind, where)
        extracted = _stems(self.manual_dir / "images")
        tasks, missing = {}, []
        for split, subjects in SUBJECTS.items():
            tasks[split] = []
            for name in subjects:
                found, lacking = self._subject(self.manual_dir / name, extracted)
                tasks[split] += found
                missing += lacking
        if not any(tasks.values()):
            raise UserError(
                f"{self.manual_dir} does not have Human3.6M's layout: it lacks S1/MyPoseFeatures "
                "or S1/Poses_D3_Positions_mono with poses of a video in S1/Videos"
            )
        self.report_missing(missing)
        return tasks

    def _subject(self, subject: Path, extracted: frozenset[str]) -> tuple[list[Task], list[str]]:
        """Returns a subject's tasks and the names of missing files; `extracted`: see `_stems`."""
        tasks, missing = [], []
        for action, camera in recordings(subject, CAMERAS):
            used = (subject.name, action, camera) != DAMAGED
            video = _video(subject, action, camera, extracted) if used else None
            if used and video is None:
                missing.append(f"{subject.name}/Videos/{action}.{camera}.mp4")
            else:
                # Test tracks are grouped by action, as in published tables.
                subset = action.partition(" ")[0] if subject.name in SUBJECTS["test"] else ""
                settings = (subset, self.every, self.metadata, self.labels)
                tasks.append(Task(subject, action, camera, video, *settings))
        if not tasks and not missing:
            missing = [f"{subject.name}/MyPoseFeatures/D3_Positions_mono/*.cdf"]
        return tasks, missing


def _stems(folder: Path) -> frozenset[str]:
    """Returns the names of the images in a folder without their numbers."""
    names = os.listdir(folder) if folder.is_dir() else []
    return frozenset(name.rpartition("_")[0] for name in names)


def _video(subject: Path, action: str, camera: str, extracted: frozenset[str]) -> Path | None:
    stem = name_of(subject.name, action, camera)
    candidates = (
        subject / "Videos" / f"{action}.{camera}.mp4",
        subject / "images" / stem,
        subject.parent / "images" / subject.name / stem,
    )
    found = next((path for path in candidates if path.exists()), None)
    return subject.parent / "images" if found is None and stem in extracted else found
