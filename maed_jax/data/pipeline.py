"""Training batches: endless, deterministic for a seed, resumable at any point.

Element n of the stream depends only on the seed and n, so the state of an iterator is the number of
batches that it has returned. The order depends neither on the number of threads, worker processes
or hosts, nor on where a run was interrupted. `data.batches` makes the batches.
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

# Parts of a batch. A part's position seeds its own random stream: only append.
PARTS = ("clips", "images", "clips_2d")


def endless(loader: Loader, seed: int) -> grain.MapDataset:
    """Returns the samples of `loader`, repeated endlessly and reshuffled in each epoch.

    Raises:
      UserError: there are none.
    """
    if len(loader.source) == 0:
        raise UserError(f"{loader.source.records} contains nothing to train on")
    indices = grain.MapDataset.range(len(loader.source)).seed(seed)
    return indices.shuffle().repeat().random_map(loader)


def mix(datasets: Sequence[grain.MapDataset], weights: Sequence[float]) -> grain.MapDataset:
    """Interleaves endless datasets in proportion to `weights`, which need not add up to 1."""
    if len(datasets) == 1:
        return datasets[0]
    return grain.MapDataset.mix(datasets, [weight / sum(weights) for weight in weights])


def training_batches(
    config: Mapping, seed: int, image_size: int, shard: tuple[int, int] | None = None
) -> TrainingBatches:
    """Returns the batches of a training run.

    Args:
      config: `config.data`. An entry of `clips` and `clips_2d` is (dataset, weight) or
        (dataset, weight, stride of its windows), one of `images` is (dataset, weight) or (dataset,
        weight, n) for every n-th frame. With `mix_by_size`, weights are per window or image rather
        than per dataset. `augment_images` and `augment_clips_2d` override `augment` for their
        parts; `body` is the name of the body whose labels count.
      shard: index of this host and number of hosts; default: JAX's.

    Raises:
      UserError: a dataset does not exist, or settings are incompatible.
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
        raise UserError(f"there is nothing to train on: in config.data, {names} are all 0")
    return TrainingBatches(parts, workers=config.get("workers", 0), shard=shard)


def dataset_to_evaluate(config: Mapping) -> str:
    """Returns `config.data`'s validation dataset, else the first dataset that it trains on,
    preferring clips to images.

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
    """Mixes the datasets of one of `PARTS`."""
    augment = Augment.of_part(config, part)
    datasets, weights = [], []
    for number, entry in enumerate(entries):
        name, weight, third = _entry(part, entry)
        records = Records(dataset_directory(config["data_dir"], name), config["train_split"])
        if part == "images":
            source = Images(records, third or 1)
        else:
            source = Clips(records, config["clip_length"], config["interval"], third)
        loader = Loader(source, image_size, augment, config.get("body"))
        # a separate stream for every part and dataset
        stream = np.random.SeedSequence([seed, PARTS.index(part), number])
        datasets.append(endless(loader, int(stream.generate_state(1)[0])))
        weights.append(weight * len(source) if config.get("mix_by_size") else weight)
    return mix(datasets, weights)


def _entry(part: str, entry: tuple) -> tuple[str, float, int | None]:
    """Returns name, weight and third value (or None) of a dataset's entry in the configuration."""
    third = "every" if part == "images" else "stride"
    try:
        name, weight, *more = entry
        valid = isinstance(name, str) and weight > 0 and len(more) <= 1
        valid = valid and all(isinstance(n, int) and n > 0 for n in more)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise UserError(
            f"config.data.{part} has {entry!r}: an entry is (dataset, weight) or (dataset, weight, "
            f"{third}), with a weight above 0 and {third} a whole number above 0"
        )
    return name, weight, more[0] if more else None
