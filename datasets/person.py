"""One person in one image, as labelled by a dataset's owner, and its conversion to a record."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from maed_jax.data import schema
from maed_jax.data.images import ImageError, decode_image, encode_jpeg, transform_keypoints

from .image_files import read_file

WINDOW = 2.0  # side of the stored part of an image, as a multiple of the box's longer side
MAX_CROP = 344  # pixels; a crop of 1.3 boxes is then 224 pixels wide, the network's input
CROP_QUALITY, FRAME_QUALITY = 90, 95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """One person in one frame, in the units of the schema, before the image is read."""

    image: Path | bytes | np.ndarray
    """a file, an encoded image, or RGB uint8 [h w 3] such as a frame of a video; files are read
    with their pixels as stored, whatever rotation their EXIF data asks for"""
    keypoints_2d: np.ndarray
    """[49 3] x, y in pixels of the image (0, 0 is the centre of the first pixel), confidence;
    zeros where absent"""
    box: np.ndarray
    """[4] centre x, centre y, width, height in pixels, without margin"""
    frame: int = 0
    """frame number in its video, from 0; 0 for stills"""
    keypoints_3d: np.ndarray | None = None
    """[49 4] metres in the camera frame, validity"""
    pose: np.ndarray | None = None
    """[72] axis-angle, radians, root in the camera frame; only together with `shape`"""
    shape: np.ndarray | None = None
    """[10] shape coefficients of `body`"""
    body: str = "smpl"
    gender: str = "neutral"
    intrinsics: np.ndarray | None = None
    """[4] fx, fy, cx, cy of the image, pixels"""
    frame_rate: float = 0.0
    valid: bool = True


@dataclasses.dataclass(frozen=True)
class PersonTrack:
    """The frames that show one person, in ascending order, possibly with gaps."""

    name: str
    people: Iterable[Person]
    """may be lazy, so that a video is decoded frame by frame"""
    subset: str = ""


class Dropped(collections.Counter):
    """Counts people left out: short reason -> how many."""


class Recorder:
    """Converts people to records and counts what is left out or mended.

    Attributes:
      dropped: people left out, by reason.
      mended: labels left out of people who are kept, by reason.
      images: how many images the records show; one that is not a file counts once per person.
    """

    def __init__(self, source: str, crops: bool):
        """
        Args:
          source: the dataset's name.
          crops: store the person with a margin instead of the whole image.
        """
        self.source, self.crops = source, crops
        self.dropped, self.mended = Dropped(), collections.Counter()
        self._files: set[Path] = set()
        self._num_encoded = 0
        self._latest: tuple = None, None

    @property
    def images(self) -> int:
        return len(self._files) + self._num_encoded

    def records(self, track: PersonTrack) -> Iterator[dict]:
        """Yields the records of a track, in its order.

        Raises:
          ValueError: an array has the wrong shape, or frames are not in ascending order: the
            dataset's reader is at fault.
        """
        previous = -1
        for person in track.people:
            if person.frame <= previous:
                raise ValueError(f"track {track.name}: frame {person.frame} after {previous}")
            previous = person.frame
            try:
                record = self._record(person)
            except _Drop as reason:
                self.dropped[str(reason)] += 1
                continue
            if isinstance(person.image, Path):
                self._files.add(person.image)
            else:
                self._num_encoded += 1
            yield record | {"track": track.name, "source": self.source}

    def _record(self, person: Person) -> dict:
        points, box, labels = self._labels(person)
        image, data = self._read(person.image)
        height, width = image.shape[:2]
        low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
        if (high < 0).any() or low[0] > width - 1 or low[1] > height - 1:
            raise _Drop("outside the image")
        fx, fy, cx, cy = np.zeros(4) if person.intrinsics is None else person.intrinsics
        if self.crops:
            image, zoom, corner = crop(image, box)
            affine = np.array([[zoom, 0, corner[0]], [0, zoom, corner[1]]])
            points = np.where(points[:, 2:] > 0, transform_keypoints(points, affine), 0)
            box = np.r_[box[:2] * zoom + corner, box[2:] * zoom]
            if fx:
                fx, fy, cx, cy = fx * zoom, fy * zoom, cx * zoom + corner[0], cy * zoom + corner[1]
            data = encode_jpeg(image, CROP_QUALITY)
        elif data[:2] != b"\xff\xd8":
            data = encode_jpeg(image, FRAME_QUALITY)
        values = labels | {
            "image_size": image.shape[:2],
            "keypoints_2d": points,
            "box": box,
            "intrinsics": (fx, fy, cx, cy),
            "frame": person.frame,
            "frame_rate": person.frame_rate,
            "valid": person.valid,
        }
        record = {name: np.asarray(values[name], kind) for name, (_, kind) in schema.ARRAYS.items()}
        return record | {"body": person.body, "gender": person.gender, schema.IMAGE: data}

    def _labels(self, person: Person) -> tuple[np.ndarray, np.ndarray, dict]:
        """Returns keypoints [49 3], box [4] and 3D labels, without those that are not finite."""
        points = self._finite("keypoints_2d", person.keypoints_2d, "2D keypoint is not a number")
        points[:, 2] = points[:, 2].clip(0, 1)
        points[points[:, 2] == 0] = 0
        has_3d, keypoints_3d = person.keypoints_3d is not None, np.zeros((49, 4))
        if has_3d:
            keypoints_3d = self._finite(
                "keypoints_3d", person.keypoints_3d, "3D keypoint is not a number"
            )
            has_3d = bool(keypoints_3d[:, 3].any())
        if (person.pose is None) != (person.shape is None):
            raise ValueError("pose and shape go together")
        has_smpl, pose, shape = person.pose is not None, np.zeros(72), np.zeros(10)
        if has_smpl:
            pose, shape = _check_shape("pose", person.pose), _check_shape("shape", person.shape)
            if not (np.isfinite(pose).all() and np.isfinite(shape).all()):
                has_smpl, pose, shape = False, np.zeros(72), np.zeros(10)
                self.mended["pose or shape is not a number"] += 1
        if not (points[:, 2].any() or has_3d or has_smpl):
            raise _Drop("no visible keypoints")
        box = _check_shape("box", person.box)
        if not (np.isfinite(box).all() and (box[2:] > 0).all()):
            raise _Drop("no box")
        return points, box, {
            "keypoints_3d": keypoints_3d, "has_3d": has_3d,
            "pose": pose, "shape": shape, "has_smpl": has_smpl,
        }  # fmt: skip

    def _finite(self, name: str, points: np.ndarray, reason: str) -> np.ndarray:
        """Returns a copy of `points` with those that are not finite set to 0, and counts them."""
        points = _check_shape(name, points).copy()
        invalid = ~np.isfinite(points).all(-1)
        if invalid.any():
            self.mended[reason] += int(invalid.sum())
            points[invalid] = 0
        return points

    def _read(self, image: Path | bytes | np.ndarray) -> tuple[np.ndarray, bytes]:
        """Returns the image, RGB uint8 [h w 3], and its bytes (empty for a video's frame)."""
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"image of a person is {image.dtype} {image.shape}, not RGB uint8 [h w 3]"
                )
            return image, b""
        if isinstance(image, Path) and image == self._latest[0]:
            return self._latest[1]  # several people in one image
        try:
            data = read_file(image) if isinstance(image, Path) else image
            read = decode_image(data), data
        except FileNotFoundError:
            raise _Drop("missing image") from None
        except (ImageError, OSError):
            raise _Drop("unreadable image") from None
        self._latest = image, read
        return read


def crop(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Crops a square of twice the box's longer side, shrunk to 344 pixels if it is larger.

    For a tall person, the square is a few pixels larger and slightly off centre, so that it can be
    halved exactly.

    Args:
      image: RGB uint8 [h w 3].
      box: centre x, centre y, width, height, pixels; must overlap the image.

    Returns:
      The crop, black outside the image, and zoom and corner [2] such that a point p of the image is
      at zoom * p + corner in the crop (0 is the centre of the first pixel).
    """
    side = max(2, int(np.ceil(WINDOW * box[2:].max())))
    height, width = image.shape[:2]
    if side > 32 * max(height, width):
        raise _Drop("box much larger than the image")
    halvings = max(0, (side // MAX_CROP).bit_length() - 1)
    side = -(-side >> halvings) << halvings
    left, top = np.rint((box[:2] - side / 2) / 2**halvings).astype(int) << halvings
    window = image[max(top, 0) : top + side, max(left, 0) : left + side]
    # Area averages avoid aliasing; halving first takes a quarter of the time.
    window = _pad(window, 0, -len(window) % 2**halvings, 0, -window.shape[1] % 2**halvings)
    for _ in range(halvings):
        half = window.shape[1] // 2, len(window) // 2
        window = cv2.resize(window, half, interpolation=cv2.INTER_AREA)
    target = side >> halvings
    pad_top, pad_left = max(-top, 0) >> halvings, max(-left, 0) >> halvings
    pad_bottom, pad_right = target - pad_top - len(window), target - pad_left - window.shape[1]
    window = _pad(window, pad_top, pad_bottom, pad_left, pad_right)
    size, zoom = min(side, MAX_CROP), min(1.0, MAX_CROP / side)
    if size < target:
        window = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA)
    return window, zoom, zoom * (0.5 - np.array([left, top])) - 0.5


def _pad(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Pads the image with this many black pixels on each side."""
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT)


def _check_shape(name: str, value) -> np.ndarray:
    expected = schema.ARRAYS[name][0]
    value = np.asarray(value, np.float64)
    if value.shape != expected:
        raise ValueError(f"{name} of a person has shape {value.shape}, not {expected}")
    return value


class _Drop(Exception):
    """The person is left out; the message is the reason."""
