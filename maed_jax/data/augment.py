"""Random augmentation of training clips, of images and all labels alike.

`draw` draws one set of changes, which all frames of a clip share (paper, section 4.1); the other
functions apply it. Images and 2D keypoints are moved by one affine map per frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import cv2
import numpy as np

from maed_jax.body import skeleton
from maed_jax.data import images
from maed_jax.errors import UserError

SIDES = ("left", "right", "top", "bottom")
_GREY = np.array([0.299, 0.587, 0.114])  # luma of RGB
_YIQ = np.array([_GREY, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
# Rotating the hue by an angle is _HUE[0] + cos(angle) _HUE[1] + sin(angle) _HUE[2].
_HUE = np.linalg.inv(_YIQ) @ np.array(
    [np.diag([1, 0, 0]), np.diag([0, 1, 1]), [[0, 0, 0], [0, 0, -1], [0, 1, 0]]], float
) @ _YIQ  # fmt: skip
_ERASED = tuple(round(255 * mean) for mean in images.MEAN)  # 0 once normalised


@dataclasses.dataclass(frozen=True)
class Augment:
    """Strengths; the defaults are the original's for clips. Probabilities are per clip."""

    margin: float = images.CROP_MARGIN
    """side of the usual crop, as a multiple of the longer side of the person's box"""
    crop_probability: float = 0.2
    """probability of a random crop instead of the usual one"""
    scale: tuple[float, float] = (0.7, 1.3)
    """range of the side of a random crop, as a multiple of the box's longer side"""
    shift: float = 0.1
    """largest shift of a random crop from the box's centre, relative to the box's longer side"""
    rotation: float = 0.0
    """largest in-plane rotation, degrees; the original has none"""
    flip: float = 0.5
    """probability of a horizontal flip"""
    jitter: float = 0.3
    """range of brightness, contrast and saturation factors: 1 - jitter to 1 + jitter"""
    hue: float = 0.3
    """largest hue rotation, in full turns"""
    erase: float = 0.3
    """probability that the image is blanked from one side"""
    erase_max: float = 0.7
    """largest fraction of the image that is blanked"""
    erase_per_frame: bool = False
    """draw the blanked part anew for each frame, as the original does"""
    erase_keypoints: bool = False
    """set the confidence of 2D keypoints in the blanked part to 0"""

    section: dataclasses.InitVar[str] = "augment"
    """what the configuration calls these, for messages"""

    def __post_init__(self, section: str):
        """Raises: UserError: a value is out of range."""
        ours = f"config.data.{section}"
        chance = 0.0, 1.0
        for name, (low, high) in {
            **dict.fromkeys(("crop_probability", "flip", "erase", "erase_max"), chance),
            **dict.fromkeys(("shift", "rotation", "jitter", "hue"), (0.0, np.inf)),
        }.items():
            value = getattr(self, name)
            if not low <= value <= high:  # catches NaN too
                needed = "between 0 and 1" if high == 1 else "at least 0"
                raise UserError(f"{ours}.{name} must be {needed}, not {value}")
        if not 0 < self.margin < np.inf:
            raise UserError(f"{ours}.margin must be above 0, not {self.margin}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < np.inf:
            raise UserError(
                f"{ours}.scale must be two numbers above 0, the smaller first, not {self.scale}"
            )

    @classmethod
    def from_config(cls, config: Mapping, section: str = "augment") -> Augment:
        """Makes one from a mapping of these fields.

        Args:
          section: what the configuration calls the mapping, for messages.

        Raises:
          UserError: a key is not a field, or a value is out of range.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(config) - set(fields))
        if unknown:
            raise UserError(
                f"config.data.{section} has no {unknown[0]!r}; it has {', '.join(fields)}"
            )
        return cls(**config, section=section)

    @classmethod
    def of_part(cls, data: Mapping, part: str) -> Augment:
        """Returns `data.augment` with the overrides of `part`'s own section.

        Args:
          data: `config.data`.
          part: `clips`, `clips_2d` or `images`.

        Raises:
          UserError: as `from_config`.
        """
        common, own = data["augment"], data.get(f"augment_{part}")
        augment = cls.from_config(common)
        return cls.from_config({**common, **own}, f"augment_{part}") if own else augment


@dataclasses.dataclass(frozen=True)
class Changes:
    """The changes to one clip."""

    scale: float = images.CROP_MARGIN
    """side of the crop, as a multiple of the box's longer side"""
    rotation: float = 0.0
    """radians, counter-clockwise as seen"""
    shift: tuple[float, float] = (0.0, 0.0)
    """of the crop to the right and down, relative to the box's longer side"""
    flip: bool = False
    colour: tuple[tuple[str, float], ...] = ()
    """(brightness | contrast | saturation | hue, amount), in the order of application"""
    erased: tuple[tuple[str, float], ...] | None = None
    """(side, fraction of the image): one for the clip or one per frame; 0 blanks nothing"""
    hide_keypoints: bool = False
    """whether 2D keypoints in the blanked part get confidence 0"""


def draw(rng: np.random.Generator, augment: Augment, frames: int = 1) -> Changes:
    """Draws the changes of a clip of `frames` frames."""
    scale, shift, rotation = augment.margin, (0.0, 0.0), 0.0
    if rng.random() < augment.crop_probability:
        scale = rng.uniform(*augment.scale)
        shift = tuple(rng.uniform(-augment.shift, augment.shift, 2))
    if augment.rotation > 0:
        rotation = np.deg2rad(rng.uniform(-augment.rotation, augment.rotation))
    flip = bool(rng.random() < augment.flip)
    colour = []
    if augment.jitter > 0:
        low, high = max(1 - augment.jitter, 0.0), 1 + augment.jitter
        colour += [(n, rng.uniform(low, high)) for n in ("brightness", "contrast", "saturation")]
    if augment.hue > 0:
        colour.append(("hue", rng.uniform(-augment.hue, augment.hue)))
    colour = tuple(colour[i] for i in rng.permutation(len(colour)))
    erased = None
    if augment.erase > 0:
        erased = tuple(
            _draw_erasing(rng, augment) for _ in range(frames if augment.erase_per_frame else 1)
        )
    return Changes(scale, rotation, shift, flip, colour, erased, augment.erase_keypoints)


def _draw_erasing(rng: np.random.Generator, augment: Augment) -> tuple[str, float]:
    part = rng.uniform(0, augment.erase_max) if rng.random() < augment.erase else 0.0
    return SIDES[rng.integers(4)], part


def affine(changes: Changes, box: np.ndarray, size: int) -> np.ndarray:
    """Returns the map `[2 3]` from stored image to changed crop of side `size`, flip included."""
    crop = images.crop_affine(box, size, changes.scale, changes.rotation, changes.shift)
    return images.mirror_affine(crop, size) if changes.flip else crop


def keypoints_2d(points: np.ndarray, changes: Changes, to_crop: np.ndarray) -> np.ndarray:
    """Maps keypoints `[... 49 3]` from pixels of the stored image to pixels of the changed crop.

    Args:
      to_crop: `[... 2 3]`, the result of `affine` for each frame.
    """
    moved = images.transform_keypoints(points, to_crop)
    return moved[..., skeleton.KEYPOINT_FLIP, :] if changes.flip else moved


def keypoints_3d(points: np.ndarray, changes: Changes) -> np.ndarray:
    """Rotates about the optical axis, and flips, camera-frame points `[... 49 4]` in metres."""
    if changes.rotation:
        turned = points[..., :3] @ in_plane(changes.rotation).T
        points = np.concatenate([turned, points[..., 3:]], -1).astype(points.dtype)
    return skeleton.flip_keypoints(points) if changes.flip else points


def pose(vectors: np.ndarray, changes: Changes) -> np.ndarray:
    """Rotates the root about the optical axis, and flips, axis-angle `[... 72]` in radians."""
    if changes.rotation:
        # SciPy's Rotation takes 0.5 ms for a single one, a third of the time for an image.
        turn, roots = in_plane(changes.rotation), vectors[..., :3].reshape(-1, 3).astype(float)
        turned = [cv2.Rodrigues(turn @ cv2.Rodrigues(root)[0])[0] for root in roots]
        turned = np.reshape(turned, vectors[..., :3].shape)
        vectors = np.concatenate([turned, vectors[..., 3:]], -1).astype(np.float32)
    return skeleton.flip_pose(vectors) if changes.flip else vectors


def in_plane(rotation: float) -> np.ndarray:
    """Returns the matrix `[3 3]` that rotates camera-frame points (x right, y down, z forward) as
    `rotation`, in radians, counter-clockwise as seen, rotates the crop."""
    cos, sin = np.cos(rotation), np.sin(rotation)
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def recolour(clip: np.ndarray, changes: Changes) -> np.ndarray:
    """Changes the colours of an RGB clip, uint8 `[t h w 3]`, in place.

    Each change is affine in the colour (hue is a rotation in YIQ space), so they combine into one
    matrix, applied in a single pass. Contrast is relative to the mean grey of the clip.
    """
    if not changes.colour:
        return clip
    t, h, w, _ = clip.shape
    mean = cv2.mean(clip.reshape(t * h, w, 3)[::8])[:3]
    matrix = colour_matrix(changes.colour, np.array(mean))
    changed = np.empty_like(clip[0])  # reused: fresh memory is slow to get
    for image in clip:
        image[:] = cv2.transform(image, matrix, dst=changed)
    return clip


def colour_matrix(colour: tuple[tuple[str, float], ...], mean: np.ndarray) -> np.ndarray:
    """Combines the changes into one matrix `[3 4]` for a clip with mean colour `mean` `[3]`."""
    linear, offset = np.eye(3), np.zeros(3)
    for name, amount in colour:
        if name == "saturation":  # each row of the second term is the grey level so far
            linear = amount * linear + (1 - amount) * (_GREY @ linear)
            offset = amount * offset + (1 - amount) * (_GREY @ offset)
        elif name == "hue":
            angle = 2 * np.pi * amount
            step = _HUE[0] + np.cos(angle) * _HUE[1] + np.sin(angle) * _HUE[2]
            linear, offset = step @ linear, step @ offset
        elif name in ("brightness", "contrast"):
            middle = _GREY @ (linear @ mean + offset) if name == "contrast" else 0.0
            linear, offset = amount * linear, amount * offset + (1 - amount) * middle
        else:
            raise ValueError(f"unknown change of colour {name!r}")
    return np.concatenate([linear, offset[:, None]], 1)


def erase(clip: np.ndarray, changes: Changes) -> np.ndarray:
    """Blanks part of each frame of a clip, uint8 `[t h w 3]`, in place: 0 once normalised."""
    row = np.tile(np.array(_ERASED, np.uint8), (clip.shape[2], 1))
    for frame, image in enumerate(clip):
        rows, columns = _blank(changes, frame, len(image))
        image[rows, columns] = row[columns]
    return clip


def hide_erased(points: np.ndarray, changes: Changes, size: int) -> np.ndarray:
    """Sets the confidence of 2D keypoints `[t 49 3]`, in pixels of the crop, to 0 where blanked."""
    shown = points.copy()
    for frame, frame_points in enumerate(shown):
        rows, columns = _blank(changes, frame, size)
        x, y = frame_points[:, 0], frame_points[:, 1]
        # Pixel n extends from n - 0.5 to n + 0.5.
        inside = (x >= columns.start - 0.5) & (x < columns.stop - 0.5)
        inside &= (y >= rows.start - 0.5) & (y < rows.stop - 0.5)
        frame_points[inside, 2] = 0
    return shown


def _blank(changes: Changes, frame: int, size: int) -> tuple[slice, slice]:
    """Returns the rows and columns of the blanked part of a frame."""
    erased = changes.erased or (("left", 0.0),)
    side, part = erased[frame % len(erased)]
    full, count = slice(0, size), round(part * size)
    start, end = slice(0, count), slice(size - count, size)
    return {
        "left": (full, start),
        "right": (full, end),
        "top": (start, full),
        "bottom": (end, full),
    }[side]
