"""Finds SPIN's fits to frames of videos by the names in its rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np

from maed_jax.errors import UserError

from .smpl_labels import read_spin

_LARGEST_DISTANCE = 5.0  # pixels, along x or y, between a limb joint in the row and in the frame


class SpinFrames:
    """Pose `[72]`, root in the camera frame, and shape `[10]` of the frames that SPIN fitted."""

    def __init__(self, path: str, fits: str | None, key: Callable[[str], Hashable | None]):
        """
        Args:
          path, fits: as for `read_spin`.
          key: maps a row's name to the frame's key, or to None.

        Raises:
          UserError: a file is wrong, or has no fit whose name `key` recognises.
        """
        self._spin = read_spin(path, fits)
        self._rows = {key(name): row for row, name in enumerate(self._spin.imgname or ())
                      if self._spin.has_smpl[row]}  # fmt: skip
        self._rows.pop(None, None)
        if not self._rows:
            raise UserError(f"{path} has no fits to images with this dataset's names")

    def find(self, key: Hashable, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the fit for a frame with these keypoints `[49 3]`, or None.

        SPIN's scripts pair images and labels in whatever order the file system lists them: a row
        whose limbs are elsewhere belongs to another frame and is ignored.
        """
        row = self._rows.get(key)
        if row is None:
            return None
        if self._spin.part is not None:
            distance = np.abs(self._spin.part[row, :12, :2] - keypoints[25:37, :2])
            if not distance.max() < _LARGEST_DISTANCE:
                return None
        return self._spin.pose[row], self._spin.shape[row]
