"""Batches for training: endless, the same for the same seed, resumable at any point.

Element n of the stream is a function of the seed and n alone, so that the state of an iterator is
the number of batches that it has given. The order depends neither on the number of threads,
worker processes or hosts, nor on where a run was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import grain
import numpy as np

from maed_jax.data.augment import Augment
from maed_jax.data.eval_clips import EvalBatch, EvaluationClips, evaluation_clips
from maed_jax.data.records import Records, dataset_directory
from maed_jax.data.samples import Clips, Images, Loader
from maed_jax.errors import UserError

__all__ = [
    "EvalBatch",
    "EvaluationClips",
    "TrainingBatches",
    "clip_dataset",
    "evaluation_clips",
    "image_dataset",
    "mix",
    "training_batches",
]


def clip_dataset(
    data_dir: str | Path,
    name: str,
    split: str,
    *,
    seed: int,
    image_size: int,
    clip_length: int = 16,
    interval: int = 8,
    stride: int | None = None,
    augment: Augment | Mapping | None = None,
    body: str | None = None,
) -> grain.MapDataset:
    """Clips of `clip_length` frames, every `interval`-th of a window, from a random start in it.

    Endless and shuffled anew in each epoch; `len(...)` is that of an endless dataset. See
    `data.samples` for what an element holds.

    Args:
      data_dir, name: see `dataset_directory`.
      stride: frames from window to window, half a window by default.
      augment: `None` for none at all.
      body: name of the body whose pose and shape labels count; all by default.

    Raises:
      UserError: no such dataset or split, or nothing in it.
    """
    records = Records(dataset_directory(data_dir, name), split)
    source = Clips(records, clip_length, interval, stride)
    return _endless(Loader(source, image_size, Augment.from_config(augment), body), seed)


def image_dataset(
    data_dir: str | Path,
    name: str,
    split: str,
    *,
    seed: int,
    image_size: int,
    every: int = 1,
    augment: Augment | Mapping | None = None,
    body: str | None = None,
) -> grain.MapDataset:
    """Single frames as clips of one frame, every n-th of the split; else as `clip_dataset`."""
    records = Records(dataset_directory(data_dir, name), split)
    source = Images(records, every)
    return _endless(Loader(source, image_size, Augment.from_config(augment), body), seed)


def _endless(loader: Loader, seed: int) -> grain.MapDataset:
    if len(loader.source) == 0:
        raise UserError(f"{loader.source.records} holds nothing to train on")
    numbers = grain.MapDataset.range(len(loader.source)).seed(seed)
    return numbers.shuffle().repeat().random_map(loader)


def mix(datasets: Sequence[grain.MapDataset], weights: Sequence[float]) -> grain.MapDataset:
    """Endless datasets interleaved by their shares `weights`, which need not add up to 1."""
    if len(datasets) == 1:
        return datasets[0]
    return grain.MapDataset.mix(datasets, [weight / sum(weights) for weight in weights])


class TrainingBatches:
    """Iterator over `{"clips": labels, "images": labels}`, either of which may be absent.

    Labels are dicts of NumPy arrays, see `data.samples`; `skipped` is left out and summed up in
    the attribute of that name: how many samples with unreadable pictures have been replaced.
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[grain.MapDataset, int]],
        *,
        workers: int = 0,
        threads: int | None = None,
        shard: tuple[int, int] = (0, 1),
    ):
        """
        Args:
          parts: name -> endless dataset and batch size over all hosts.
          workers: processes that prepare samples; 0 for threads of this one.
          threads: per process; one for each core by default.
          shard: number of this host and of all hosts; each gives its part of every batch.

        Raises:
          UserError: a batch size that the hosts cannot share evenly.
        """
        for name, (_, size) in parts.items():
            if size % shard[1]:
                raise UserError(
                    f"config.data.{name}_per_batch is {size}: make it a multiple of the "
                    f"{shard[1]} hosts"
                )
        self.skipped = 0
        self._parts, self._shard, self._workers = dict(parts), shard, workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self._threads = threads or (1 if workers else cores or 1)
        self._batches = 0
        self._iterators: dict[str, Iterator] | None = None
        _prepare_process()

    def _start(self) -> dict[str, Iterator]:
        host, hosts = self._shard
        iterators = {}
        for name, (dataset, size) in self._parts.items():
            rest = dataset[self._batches * size + host :: hosts]
            local = size // hosts
            read = grain.ReadOptions(
                num_threads=self._threads, prefetch_buffer_size=max(2 * local, self._threads)
            )
            samples = rest.to_iter_dataset(read)
            if self._workers:
                options = grain.MultiprocessingOptions(
                    num_workers=self._workers, per_worker_buffer_size=max(local, 2)
                )
                samples = samples.mp_prefetch(options, worker_init_fn=_prepare_process)
            iterators[name] = iter(samples.batch(local, drop_remainder=True))
        return iterators

    def __iter__(self) -> TrainingBatches:
        return self

    def __next__(self) -> dict[str, dict[str, np.ndarray]]:
        if self._iterators is None:
            self._iterators = self._start()
        batch = {name: dict(next(iterator)) for name, iterator in self._iterators.items()}
        self._batches += 1
        self.skipped += sum(int(labels.pop("skipped").sum()) for labels in batch.values())
        return batch

    def get_state(self) -> dict[str, int]:
        """Where the iterator stands, for `json`; the same on every host."""
        return {"batches": self._batches, "skipped": self.skipped}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Goes on from a state of an iterator with the same seed, datasets and batch sizes."""
        self.close()
        self._batches, self.skipped = int(state["batches"]), int(state.get("skipped", 0))

    def close(self) -> None:
        """Ends threads and worker processes; the next batch starts them anew."""
        for iterator in (self._iterators or {}).values():
            iterator.close()
        self._iterators = None


def training_batches(
    config: Mapping, seed: int, image_size: int, shard: tuple[int, int] | None = None
) -> TrainingBatches:
    """The batches of a training run.

    Args:
      config: `config.data`. An entry of `clips` is (dataset, share) or (dataset, share, stride of
        its windows), one of `images` (dataset, share) or (dataset, share, n) for every n-th frame.
        `image_augment`, where it is there, takes the place of `augment` for images; `body` is the
        name of the body whose labels count.
      shard: number of this host and of all hosts; those of JAX by default.

    Raises:
      UserError: a dataset that is not there, or settings that do not go together.
    """
    if shard is None:
        import jax

        shard = (jax.process_index(), jax.process_count())
    common = {"image_size": image_size, "body": config.get("body")}
    clip_options = {key: config[key] for key in ("clip_length", "interval")}
    clip_options |= common | {"augment": config.get("augment")}
    image_options = common | {"augment": config.get("image_augment") or config.get("augment")}
    parts = {}
    for part, make, options, third in (
        ("clips", clip_dataset, clip_options, "stride"),
        ("images", image_dataset, image_options, "every"),
    ):
        size, entries = config.get(f"{part}_per_batch", 0), config.get(part, ())
        if size and not entries:
            raise UserError(f"config.data.{part}_per_batch is {size}, but config.data.{part} is ()")
        if size:
            datasets, weights = [], []
            for number, (name, weight, *more) in enumerate(entries):
                extra = {third: more[0]} if more else {}
                # a stream of its own for every part and dataset
                stream = np.random.SeedSequence([seed, part == "images", number])
                where = (config["data_dir"], name, config["train_split"])
                datasets.append(
                    make(*where, seed=int(stream.generate_state(1)[0]), **options, **extra)
                )
                weights.append(weight)
            parts[part] = (mix(datasets, weights), size)
    if not parts:
        raise UserError("config.data.clips_per_batch and images_per_batch are both 0")
    return TrainingBatches(parts, workers=config.get("workers", 0), shard=shard)


def _prepare_process(*_) -> None:
    """Settings of a process that reads: OpenCV's own threads would only fight with ours, and Grain
    asks absl for flags, which programs that do not use them never parse."""
    import absl.flags

    cv2.setNumThreads(0)
    if not absl.flags.FLAGS.is_parsed():
        absl.flags.FLAGS.mark_as_parsed()
