"""The TFDS builder `lspet`: LSP-Extended (Johnson and Everingham, CVPR 2011)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maed_jax.body.skeleton import to_keypoints49
from maed_jax.errors import UserError

from ..matlab import read_mat
from ..stills import Still, StillsBuilder

JOINTS = 14


class Lspet(StillsBuilder):
    """LSP-Extended (lspet_dataset.zip), everyone in the train split:

    DIR/joints.mat
    DIR/images/im00001.jpg ... im10000.jpg (or in DIR itself)

    or the higher-resolution version, HR-LSPET (hr-lspet.zip), with its own joints.mat:

    DIR/joints.mat
    DIR/im00001.png ... (fewer images; the i-th of the sorted names is row i)

    SMPL fits: --eft LSPet_ver01.json (or LSPet_train_ver10.json LSPet_test_ver10.json), or --spin
    hr-lspet_train.npz --spin_fits lspet_fits.npy; they are matched by image name, so they fit both
    versions.
    """

    one_person_per_image = True

    def people(self) -> dict[str, list[Still]]:
        path = self.manual_dir / "joints.mat"
        joints = read_joints(path)
        folder = self.manual_dir / "images"
        folder = folder if folder.is_dir() else self.manual_dir
        images = sorted(folder.glob("im*.png"))
        if images:  # HR-LSPET, whose numbering has gaps
            if len(images) != len(joints):
                raise UserError(
                    f"{path} has joints of {len(joints)} images, but there are {len(images)} "
                    f"in {folder}: both must be from the same archive"
                )
        elif not any(folder.glob("im*.jpg")):
            raise UserError(f"{folder} has no images im00001.jpg or im00001.png and so on")
        else:
            images = [folder / f"im{number:05d}.jpg" for number in range(1, len(joints) + 1)]
        return {"train": [_still(*pair) for pair in zip(images, joints)]}


def read_joints(path: Path) -> np.ndarray:
    """Reads LSP-Extended's joints [n 14 3]: x, y in pixels, whether visible.

    Raises:
      UserError: the file is missing or has another structure (such as LSP's own joints.mat).
    """
    joints = read_mat(path, ["joints"])["joints"]
    if not isinstance(joints, np.ndarray) or joints.ndim != 3 or joints.shape[:2] != (JOINTS, 3):
        found = joints.shape if isinstance(joints, np.ndarray) else type(joints).__name__
        why = " (that is LSP's, which is another dataset)" if np.shape(joints)[:1] == (3,) else ""
        raise UserError(f"{path}: joints is {found}, not (14, 3, 10000) as in LSP-Extended{why}")
    return np.moveaxis(joints.astype(np.float64), -1, 0)


def _still(image: Path, joints: np.ndarray) -> Still:
    """Leaves out hidden joints: their positions are guesses, often outside the image."""
    visible = joints[joints[:, 2] > 0, :2]
    low, high = (visible.min(0), visible.max(0)) if len(visible) else (np.zeros(2), np.zeros(2))
    return Still(
        image=image,
        name=image.stem,
        keypoints_2d=to_keypoints49(joints, "common").astype(np.float32),
        box=np.r_[(low + high) / 2, high - low],
    )
