"""Writes a small prepared dataset of noise images in the builders' format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from maed_jax.data import schema
from maed_jax.data.augment import Augment
from maed_jax.data.images import encode_jpeg

UNCHANGED = Augment(crop_probability=0.0, flip=0.0, jitter=0.0, hue=0.0, erase=0.0)


def record(
    rng: np.random.Generator, track: str, frame: int, size: tuple[int, int] = (48, 40)
) -> dict:
    """Makes a record with labels drawn from `rng`; later frames have brighter images."""
    height, width = size
    image = rng.integers(0, 60, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.kron(image, np.ones((8, 8, 1), np.uint8))[:height, :width] + np.uint8(frame % 190)
    keypoints = rng.uniform(0.2, 0.8, (49, 2)) * (width, height)
    return {
        "image": encode_jpeg(image),
        "image_size": np.array(size, np.int32),
        "keypoints_2d": np.c_[keypoints, rng.integers(0, 2, 49)].astype(np.float32),
        "keypoints_3d": np.c_[rng.normal(0, 0.3, (49, 3)) + (0, 0, 4), np.ones(49)].astype(
            np.float32
        ),
        "pose": rng.normal(0, 0.3, 72).astype(np.float32),
        "shape": rng.normal(0, 1, 10).astype(np.float32),
        "has_smpl": True,
        "has_3d": True,
        "box": np.array([width / 2, height / 2, width * 0.6, height * 0.7], np.float32),
        "intrinsics": np.array([100, 100, width / 2, height / 2], np.float32),
        "frame": frame,
        "frame_rate": 30.0,
        "valid": True,
        "body": "mannequin",
        "gender": "neutral",
        "source": "fake",
        "track": track,
    }


def write_fake_dataset(
    data_dir: str | Path,
    lengths: Sequence[int],
    *,
    name: str = "fake",
    split: str | Sequence[str] = "train",
    subsets: Sequence[str] | None = None,
    size: tuple[int, int] = (48, 40),
    edit=lambda index, record: None,
    seed: int = 0,
    shards: int | None = None,
) -> Path:
    """Writes `<data_dir>/<name>/crops/1.0.0` with tracks of these lengths; returns that folder.

    `edit(index, record)` may change a record in place before it is written. All splits are equal.
    """
    splits = [split] if isinstance(split, str) else split

    class Fake(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="crops")]

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=schema.features(), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples() for split in splits}

        def _generate_examples(self):
            rng = np.random.default_rng(seed)
            index = 0
            for number, length in enumerate(lengths):
                for frame in range(length):
                    example = record(rng, f"track{number}", frame, size)
                    edit(index, example)
                    yield index, example
                    index += 1

    Fake.name = name
    builder = Fake(data_dir=data_dir, config="crops", file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            compute_stats="skip", try_download_gcs=False, num_shards=shards
        )
    )
    starts = np.cumsum([0, *lengths])
    tracks = [
        schema.Track(f"track{i}", int(starts[i]), length, subsets[i] if subsets else "")
        for i, length in enumerate(lengths)
    ]
    for split in splits:
        schema.write_tracks(builder.data_dir, split, tracks)
    return Path(builder.data_dir)
