"""The readers that `maed bench data` compares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from maed_jax.bench import synthetic
from maed_jax.data import images, samples
from maed_jax.data.augment import Augment

SIZE, CLIP_LENGTH, FRAMES = 224, 16, 32
FULL_FRAMES = {1000: 83, 2048: 90}  # side, pixels -> JPEG quality, see `synthetic.photo`
CROP = 344
_MEAN, _STD = (np.array(v, np.float32)[:, None, None] for v in (images.MEAN, images.STD))


@dataclasses.dataclass(frozen=True)
class Reader:
    name: str
    kilobytes: float
    """mean size of a file"""
    read: Callable[[int], int]
    """reads frames, different ones for each argument; returns their number"""
    original: str
    """name of the reader to compare with (the original's: itself)"""


def make_readers(folder: Path, pillow: bool = True) -> list[Reader]:
    """Returns the readers, on images that it writes to `folder`; the original's need Pillow."""
    cv2.setNumThreads(0)
    rng = np.random.default_rng(0)
    readers = []
    for size, quality in FULL_FRAMES.items():
        photos = [synthetic.photo(size, seed) for seed in range(2)]
        boxes = [synthetic.box(size, 0.45, rng) for _ in range(FRAMES)]
        original = f"original, {size} x {size}"
        if not readers:
            name, jpegs = f"crops, {CROP} x {CROP}", [crop_of(photo) for photo in photos]
            crop_boxes = [synthetic.box(CROP, 0.5, rng) for _ in range(FRAMES)]
            readers.append(our_reader(name, folder, jpegs, crop_boxes, CROP, original))
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        frame_jpegs = [cv2.imencode(".jpg", p[..., ::-1], options)[1].tobytes() for p in photos]
        if pillow:
            readers.append(original_reader(original, folder, frame_jpegs, boxes))
        for name, jpegs in (
            (f"frames, {size} x {size}", frame_jpegs),
            (f"frames of videos, {size} x {size}", [images.encode_jpeg(p) for p in photos]),
        ):
            readers.append(our_reader(name, folder, jpegs, boxes, size, original))
    return readers


def our_reader(
    name: str, folder: Path, jpegs: list[bytes], boxes: list[np.ndarray], size: int, original: str
) -> Reader:
    """Returns a reader that does what training does for a clip, except batching."""
    data = [jpegs[i % len(jpegs)] for i in range(len(boxes))]
    records = synthetic.write_dataset(folder / name.replace(" ", ""), data, boxes, size)
    clips = samples.Clips(records, CLIP_LENGTH, len(boxes) // CLIP_LENGTH, 1)
    loader = samples.Loader(clips, SIZE, Augment())

    def read(number: int) -> int:
        return len(loader(0, np.random.default_rng(number))["image"])

    return Reader(name, _kilobytes(jpegs), read, original)


def crop_of(photo: np.ndarray) -> bytes:
    """Returns what `maed data build` stores for a person of 45 % of the height: twice that, shrunk
    to CROP."""
    edge = len(photo) // 20
    inner = photo[edge:-edge, edge:-edge]
    crop = cv2.resize(inner, (CROP, CROP), interpolation=cv2.INTER_AREA)
    return images.encode_jpeg(crop, 90)


def original_reader(name: str, folder: Path, jpegs: list[bytes], boxes: list[np.ndarray]) -> Reader:
    """Returns a reader that does what the original does with a frame, without labels or
    augmentation."""
    files = [folder / f"{name}-{number}.jpg" for number in range(len(boxes))]
    for number, file in enumerate(files):
        file.write_bytes(jpegs[number % len(jpegs)])

    def read(number: int) -> int:
        for i in range(CLIP_LENGTH):
            i = (number + i) % len(files)
            original_crop(files[i], boxes[i])
        return CLIP_LENGTH

    return Reader(name, _kilobytes(jpegs), read, name)


def original_crop(file: Path, box: np.ndarray) -> np.ndarray:
    """Reads and crops a frame as the original does: float32 `[3 SIZE SIZE]`, normalised."""
    from PIL import Image

    image = np.array(Image.open(file).convert("RGB"))
    affine = images.crop_affine(box, SIZE)
    crop = cv2.warpAffine(image, affine, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    tensor = np.ascontiguousarray(crop.transpose(2, 0, 1)).astype(np.float32)
    tensor /= 255
    tensor -= _MEAN
    tensor /= _STD
    return tensor


def _kilobytes(files: list[bytes]) -> float:
    return float(np.mean([len(data) for data in files])) / 1000
