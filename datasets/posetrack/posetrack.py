"""The TFDS builder `posetrack`: PoseTrack 2018's videos (Andriluka et al., CVPR 2018)."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.arguments import positive
from maed_jax.body.skeleton import JOINT_SETS, to_keypoints49
from maed_jax.errors import UserError

from ..checked import image_path, numbers, read_json
from ..source import Dropped, ImagesBuilder, Person, PersonTrack

PARTS = {"train": "train", "validation": "val"}
DAMAGED = "021133_mpii_train"
"""a file whose labels are useless; without its folder, which varies"""
SHORTEST = 8  # frames in a track, as in the original
BOX = 0.8  # the owner's boxes have a margin around the keypoints
# PoseTrack's keypoint names -> ours; each file gives their order.
NAMES = {
    "nose": "nose",
    "head_bottom": "neck",
    "head_top": "headtop",
    **{
        f"{side}_{part}": f"{side[0]}{part}"
        for side in ("left", "right")
        for part in ("ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}


@dataclasses.dataclass(frozen=True)
class Task:
    labels: Path
    folder: Path
    """folder to which image names are relative"""
    shortest: int


def read_video(task: Task, dropped: Dropped) -> Iterator[PersonTrack]:
    """Yields a track for each person in a video, without unlabelled frames."""
    images, names, annotations = _parse(task.labels)
    if task.labels.stem == DAMAGED:
        dropped["file known to be damaged"] += len(annotations)
        return
    tracks: dict[Any, dict[int, Person]] = {}
    for number, annotation in enumerate(annotations):
        where = f"{task.labels}, annotation {number}"
        image = images.get(_field(annotation, "image_id", int, where))
        if image is None:
            raise UserError(
                f"{where}: image_id is {annotation['image_id']}, not an image of this file"
            )
        frame, name, labelled = image
        points = annotation.get("keypoints", [0] * 3 * len(names))  # heads alone have none
        points = numbers(points, (3 * len(names),), where, "keypoints", finite=False)
        points = points.reshape(-1, 3)
        # A keypoint with coordinates counts, hidden or not; ears never have any.
        points[:, 2] = (points[:, :2] != 0).any(-1)
        box = numbers(annotation.get("bbox", [0] * 4), (4,), where, "bbox", finite=False)
        track = tracks.setdefault(_field(annotation, "track_id", int, where), {})
        if not labelled:
            dropped["frame not labelled by the owner"] += 1
        elif not points[:, 2].any():
            dropped["no visible keypoints"] += 1
        elif not (np.isfinite(box).all() and (box[2:] > 0).all()):
            dropped["no box"] += 1
        elif frame in track:
            dropped["twice in one frame"] += 1
        else:
            side = BOX * box[2:].max()
            track[frame] = Person(
                image=image_path(task.folder, name, where),
                keypoints_2d=to_keypoints49(points, names),
                box=np.array([*(box[:2] + box[2:] / 2), side, side]),
                frame=frame,
            )
    for number, track in sorted(tracks.items()):
        if len(track) < task.shortest:
            dropped[f"track of fewer than {task.shortest} frames"] += len(track)
        else:
            people = [person for _, person in sorted(track.items())]
            yield PersonTrack(f"{task.labels.stem}_{number}", people)


def _parse(path: Path) -> tuple[dict[int, tuple[int, str, bool]], list[str], list[dict]]:
    """Returns images (id -> frame number, file, whether labelled), keypoint names, annotations.

    Raises:
      UserError: the file has another structure.
    """
    content = read_json(path)
    try:
        images, annotations = content["images"], content["annotations"]
        owner = content["categories"][0]["keypoints"]
        names = [NAMES[name] for name in owner]
        each = [*images, *annotations]
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"{path} is not a PoseTrack 2018 file: it lacks {error} (images, annotations, or "
            "categories with keypoints)"
        ) from None
    if missing := set(JOINT_SETS["posetrack"]) - set(names) - {"lear", "rear"}:
        raise UserError(f"{path}: categories: keypoints lack {', '.join(sorted(missing))}")
    if len(set(names)) < len(names) or not all(isinstance(item, dict) for item in each):
        raise UserError(f"{path} is not a PoseTrack 2018 file: it has entries of the wrong kind")
    by_id = {}
    for number, image in enumerate(images):
        where = f"{path}, image {number}"
        name = _field(image, "file_name", str, where)
        found = re.search(r"(\d+)\.\w+$", name)
        if found is None:
            raise UserError(f"{where}: file_name is {name!r}, which has no frame number")
        labelled = _field(image, "is_labeled", int, where)
        by_id[_field(image, "id", int, where)] = int(found[1]), name, bool(labelled)
    return by_id, names, annotations


def _field(item: dict, name: str, kind: type, where: str) -> Any:
    if not isinstance(item.get(name), kind):
        raise UserError(f"{where}: {name} is {item.get(name)!r}, not a {kind.__name__}")
    return item[name]


class Posetrack(ImagesBuilder):
    """PoseTrack 2018 (posetrack.net):

    DIR/posetrack_data/annotations/train/000001_bonn_train.json ... (also without posetrack_data)
    DIR/posetrack_data/annotations/val/000342_mpii_test.json ...
    DIR/images/train/000001_bonn_train/000000.jpg ...
    DIR/images/val/000342_mpii_test/000000.jpg ...

    Training uses only "train". There are no SMPL labels.
    """

    can_be_partial = True
    read = staticmethod(read_video)

    def __init__(self, *, min_frames: int = SHORTEST, **kwargs):
        """
        Args:
          min_frames: leave out shorter tracks.
        """
        super().__init__(**kwargs)
        self.min_frames = min_frames

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--min_frames", type=positive(int), default=SHORTEST, metavar="N",
            help=f"leave out shorter tracks (default: {SHORTEST})",
        )  # fmt: skip

    def tasks(self) -> dict[str, list[Task]]:
        tasks, missing = {}, []
        for split, part in PARTS.items():
            folders = [self.manual_dir / folder / "annotations" / part
                       for folder in ("posetrack_data", ".")]  # fmt: skip
            files = [sorted(folder.glob("*.json")) for folder in folders]
            labels = next(filter(None, files), [])
            if not labels:
                missing.append(f"posetrack_data/annotations/{part}/*.json")
            videos = {path: Path("images") / part / path.stem for path in labels}
            present = {path for path in labels if (self.manual_dir / videos[path]).is_dir()}
            missing += [str(videos[path]) for path in labels if path not in present]
            tasks[split] = [
                Task(path, self.manual_dir, self.min_frames) for path in labels if path in present
            ]
        self.report_missing(missing, any(tasks.values()))
        return tasks
