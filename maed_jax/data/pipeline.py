"""Batches for training: endless, the same for the same seed, resumable at any point.

Element n of the stream is a function of the seed and n alone, so that the state of an iterator is
the number of batches that it has given. The order depends neither on the number of threads,
worker processes or hosts, nor on where a run was interrupted. `data.batches` makes the batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grain
import numpy as np

from maed_jax.data.augment import Augment
from maed_jax.data.batches import TrainingBatches
from maed_jax.data.records import Records, dataset_directory
from maed_jax.data.samples import Clips, Images, Loader
from maed_jax.errors import UserError

# Parts of a batch: each draws from a stream of its own, by its place here, append only.
PARTS = ("clips", "images", "clips_2d")


def endless(loader: Loader, seed: int) -> grain.MapDataset:
    """The samples of `loader` without end, shuffled anew in each epoch.

    Raises:
      UserError: there are none.
    """
    if len(loader.source) == 0:
        raise UserError(f"{loader.source.records} holds nothing to train on")
    numbers = grain.MapDataset.range(len(loader.source)).seed(seed)
    return numbers.shuffle().repeat().random_map(loader)


def mix(datasets: Sequence[grain.MapDataset], weights: Sequence[float]) -> grain.MapDataset:
    """Endless datasets interleaved by their shares `weights`, which need not add up to 1."""
    if len(datasets) == 1:
        return datasets[0]
    return grain.MapDataset.mix(datasets, [weight / sum(weights) for weight in weights])


def training_batches(
    config: Mapping, seed: int, image_size: int, shard: tuple[int, int] | None = None
) -> TrainingBatches:
    """The batches of a training run.

    Args:
      config: `config.data`. An entry of `clips` and `clips_2d` is (dataset, share) or (dataset,
        share, stride of its windows), one of `images` (dataset, share) or (dataset, share, n) for
        every n-th frame. With `mix_by_size` shares are of each window or image rather than of
        the dataset. `augment_images` and `augment_clips_2d` say what these do otherwise than
        `augment`; `body` is the name of the body whose labels count.
      shard: number of this host and of all hosts; those of JAX by default.

    Raises:
      UserError: a dataset that is not there, or settings that do not go together.
    """
    if shard is None:
        import jax

        shard = (jax.process_index(), jax.process_count())
    parts = {}
    for part in PARTS:
        size, entries = config.get(f"{part}_per_batch", 0), config.get(part, ())
        if size and not entries:
            raise UserError(f"config.data.{part}_per_batch is {size}, but config.data.{part} is ()")
        if size:
            parts[part] = (_part(config, part, entries, seed, image_size), size)
    if not parts:
        names = ", ".join(f"{part}_per_batch" for part in PARTS)
        raise UserError(f"there is nothing to train on: of config.data {names} are all 0")
    return TrainingBatches(parts, workers=config.get("workers", 0), shard=shard)


def dataset_to_evaluate(config: Mapping) -> str:
    """What `config.data` names to validate on, else the first dataset that a run with it trains on,
    of clips rather than images.

    Raises:
      UserError: it trains on nothing.
    """
    if config.get("val_dataset"):
        return config["val_dataset"]
    for part in PARTS:
        if config.get(f"{part}_per_batch", 0) > 0 and (entries := config.get(part)):
            return _entry(part, entries[0])[0]
    raise UserError("no part of config.data has both a dataset and a batch size above 0")


def _part(
    config: Mapping, part: str, entries: Sequence[tuple], seed: int, image_size: int
) -> grain.MapDataset:
    """The mixed datasets of one of `PARTS`."""
    augment = Augment.of_part(config, part)
    datasets, shares = [], []
    for number, entry in enumerate(entries):
        name, share, third = _entry(part, entry)
        records = Records(dataset_directory(config["data_dir"], name), config["train_split"])
        if part == "images":
            source = Images(records, third or 1)
        else:
            source = Clips(records, config["clip_length"], config["interval"], third)
        loader = Loader(source, image_size, augment, config.get("body"))
        # a stream of its own for every part and dataset
        stream = np.random.SeedSequence([seed, PARTS.index(part), number])
        datasets.append(endless(loader, int(stream.generate_state(1)[0])))
        shares.append(share * len(source) if config.get("mix_by_size") else share)
    return mix(datasets, shares)


def _entry(part: str, entry: tuple) -> tuple[str, float, int | None]:
    """Name, share and, where it has one, the third value of a dataset in the configuration."""
    third = "every" if part == "images" else "stride"
    try:
        name, share, *more = entry
        good = isinstance(name, str) and share > 0 and len(more) <= 1
        good = good and all(isinstance(n, int) and n > 0 for n in more)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise UserError(
            f"config.data.{part} has {entry!r}: an entry is (dataset, share) or (dataset, share, "
            f"{third}), the share above 0 and {third} a whole number above 0"
        )
    return name, share, more[0] if more else None
