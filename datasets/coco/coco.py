"""The TFDS builder `coco`: COCO 2014's keypoints (Lin et al., ECCV 2014)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import JOINT_SETS, to_keypoints49
from maed_jax.errors import UserError

from ..checked import numbers, read_json
from ..stills import Still, StillsBuilder

PARTS = {"train": "train2014", "validation": "val2014"}
# COCO's keypoint names -> ours; the file gives their order.
NAMES = {
    "nose": "nose",
    **{
        f"{side}_{part}": f"{side[0]}{part}"
        for side in ("left", "right")
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}


class Coco(StillsBuilder):
    """COCO 2014, people with keypoints (cocodataset.org):

    DIR/annotations/person_keypoints_train2014.json, person_keypoints_val2014.json
    DIR/train2014/COCO_train2014_000000000009.jpg ...
    DIR/val2014/COCO_val2014_000000000042.jpg ...

    SMPL fits: --eft COCO2014-All-ver01.json (and COCO2014-Val-ver10.json), or --spin
    coco_2014_train.npz --spin_fits coco_fits.npy. People without a fit keep their keypoints.
    """

    can_be_partial = True

    def people(self) -> dict[str, list[Still]]:
        files = {
            split: (Path("annotations") / f"person_keypoints_{part}.json", Path(part))
            for split, part in PARTS.items()
        }
        missing = {
            split: [str(path) for path in pair if not (self.manual_dir / path).exists()]
            for split, pair in files.items()
        }
        present = [split for split in files if not missing[split]]
        names = [name for each in missing.values() for name in each]
        self.report_missing(names, bool(present))
        return {
            split: read_annotations(*(self.manual_dir / path for path in files[split]))
            for split in present
        }


def read_annotations(path: Path, folder: Path) -> list[Still]:
    """Reads everyone in one of COCO's keypoint files, image by image.

    Args:
      folder: folder of the images.

    Raises:
      UserError: the file has another structure.
    """
    content = read_json(path, object_hook=_without_outline)
    try:
        person = next(c for c in content["categories"] if c["name"] == "person")
        names = [NAMES[name] for name in person["keypoints"]]
        file_names = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
        annotations = sorted(
            (a for a in content["annotations"] if a["category_id"] == person["id"]),
            key=lambda a: (file_names[a["image_id"]], a["id"]),
        )
    except (KeyError, TypeError, StopIteration) as error:
        raise UserError(
            f"{path} is not one of COCO's person keypoint files: it lacks {error or 'a person'}"
        ) from None
    if sorted(names) != sorted(JOINT_SETS["coco"]):
        raise UserError(f"{path}: category person has other keypoints than COCO's 17: {names}")
    return [_still(a, names, folder / file_names[a["image_id"]], path) for a in annotations]


def _without_outline(item: dict) -> dict:
    item.pop("segmentation", None)  # most of the file
    return item


def _still(annotation: dict, names: list[str], image: Path, path: Path) -> Still:
    where = f"{path}, annotation {annotation['id']}"
    points = annotation.get("keypoints")
    points = numbers(points, (3 * len(names),), where, "keypoints", finite=False).reshape(-1, 3)
    # 0: not labelled; 1: labelled but hidden; 2: labelled and visible. Both 1 and 2 are labels.
    points[:, 2] = points[:, 2] > 0
    x, y, width, height = numbers(annotation.get("bbox"), (4,), where, "bbox", finite=False)
    return Still(
        image=image,
        name=f"{image.stem}/{annotation['id']}",
        keypoints_2d=to_keypoints49(points, names).astype(np.float32),
        box=np.array([x + width / 2, y + height / 2, width, height]),
        annotation=annotation["id"],
        reason="crowd" if annotation.get("iscrowd") else "",
    )
