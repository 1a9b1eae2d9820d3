"""Synthetic images as costly to decode as photographs, and a prepared dataset of them."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from maed_jax.data import schema
from maed_jax.data.records import Records


def photo(size: int, seed: int = 0) -> np.ndarray:
    """Draws a synthetic photograph, RGB uint8 `[size size 3]`, like a frame of a video.

    Noise in octaves, weaker the finer as in natural images, and objects with edges, slightly
    blurred, and some grain. Files are about as large as the frames of Human3.6M and MPI-INF-3DHP in
    MMPose's tests: 70 kB for 1000 x 1000 pixels at quality 83 (64 to 71 there), 340 kB for 2048 x
    2048 at quality 90 (230 to 630), 20 kB for a crop of 344 pixels at quality 90 (20 to 31).
    """
    rng = np.random.default_rng(seed)
    light = np.zeros((size, size), np.float32)
    for octave in range(1, int(math.log2(size))):
        noise = rng.normal(size=(2**octave + 3,) * 2) * 45 * 2 ** (0.85 * (1 - octave))
        light += cv2.resize(noise.astype(np.float32), light.shape, interpolation=cv2.INTER_CUBIC)
    colours = rng.normal(110, 12, (32, 32, 3)).astype(np.float32)
    image = cv2.resize(colours, light.shape, interpolation=cv2.INTER_CUBIC)
    for _ in range(24):
        centre, axes = rng.uniform(0, size, 2), size * rng.uniform(0.01, 0.15, 2)
        where = (centre.astype(int).tolist(), axes.astype(int).tolist(), rng.uniform(0, 180))
        cv2.ellipse(image, *where, 0, 360, rng.normal(110, 30, 3).tolist(), -1)
    image = cv2.GaussianBlur(image + light[..., None], (0, 0), 0.8)
    image += rng.normal(0, 1, (size, size, 1)).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def box(size: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a box `[4]` (see the schema) near the centre, `fraction` of the image's height."""
    centre = size * rng.uniform(0.46, 0.54, 2)
    return np.array([*centre, 0.5 * fraction * size, fraction * size], np.float32)


def write_dataset(
    directory: Path, images: Sequence[bytes], boxes: Sequence[np.ndarray], size: int
) -> Records:
    """Writes images of `size` pixels as one track of a prepared dataset."""
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    plain = {name: np.zeros(shape, dtype) for name, (shape, dtype) in schema.ARRAYS.items()}
    plain |= {name: "bench" for name in schema.STRINGS} | {"body": "mannequin"}

    class Bench(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=schema.features(), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, (image, person) in enumerate(zip(images, boxes)):
                points = person[:2] + person[3] * rng.uniform(-0.5, 0.5, (49, 2))
                yield (
                    number,
                    plain
                    | {
                        "image": image,
                        "image_size": np.array([size, size], np.int32),
                        "keypoints_2d": np.c_[points, np.ones(49)].astype(np.float32),
                        "keypoints_3d": rng.normal(size=(49, 4)).astype(np.float32),
                        "pose": rng.normal(0, 0.3, 72).astype(np.float32),
                        "has_smpl": True,
                        "has_3d": True,
                        "box": person,
                        "frame": number,
                    },
                )

    tfds.disable_progress_bar()
    builder = Bench(data_dir=directory, file_format="array_record")
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                compute_stats="skip", try_download_gcs=False
            )
        )
    track = schema.Track("bench", 0, len(images))
    schema.write_tracks(builder.data_dir, "train", [track])
    return Records(builder.data_dir, "train")
