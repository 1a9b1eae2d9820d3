"""Batches from endless datasets: by threads or processes, over hosts, from any point on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext

import cv2
import grain
import numpy as np

from maed_jax.data import parallel
from maed_jax.errors import UserError
from maed_jax.machine import available_cores

DEATHS = 3  # of worker processes, that one batch may cost

# What each batch of the answer is made of, in the order of its rows.
MERGED = {"clips": ("clips_2d", "clips"), "images": ("images",)}


class TrainingBatches:
    """Iterator over `{"clips": labels, "images": labels}`, either of which may be absent.

    Labels are dicts of NumPy arrays, see `data.samples`; `replaced` is left out and summed up.
    Clips of the part `clips_2d` come before those of `clips`, as one batch.

    Attributes:
      replaced: how many samples of this host were unreadable, and were replaced by others.

    A worker process that dies, for want of memory say, is replaced with all others, and the order
    stays what it is; `DEATHS` times for one batch are an error.
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
          parts: clips, clips_2d or images -> endless dataset and batch size over all hosts.
          workers: processes that prepare batches; 0 for threads of this one.
          threads: per process; by default one in a worker, without workers one for each core.
          shard: number of this host and of all hosts; each gives its rows of every batch, the
            first host the first ones.

        Raises:
          UserError: a batch size that the hosts cannot share evenly.
        """
        self.replaced = 0
        self._parts, self._workers = dict(parts), workers
        self._rows = _share({name: size for name, (_, size) in parts.items()}, *shard)
        self._threads = threads or (1 if workers else available_cores())
        self._batches = 0
        self._iterators: dict[str, Iterator] | None = None
        _prepare_process()

    def _start(self) -> dict[str, Iterator]:
        iterators = {}
        for name, rows in self._rows.items():
            dataset, size = self._parts[name]
            local = len(rows)
            pick = _Pick(dataset, size, self._batches, rows)
            rest = grain.MapDataset.range(len(dataset) // size * local).map(pick)
            if self._workers:
                batches = self._by_workers(rest.batch(local, drop_remainder=True))
            else:
                read = grain.ReadOptions(
                    num_threads=self._threads, prefetch_buffer_size=max(2 * local, self._threads)
                )
                batches = rest.to_iter_dataset(read).batch(local, drop_remainder=True)
            iterators[name] = iter(batches)
        return iterators

    def _by_workers(self, batches: grain.MapDataset) -> grain.IterDataset:
        """Each worker makes whole batches, as handing over a small sample takes longer than making
        it; a worker of one thread makes them in its main thread."""
        threads = 0 if self._threads == 1 else self._threads
        read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
        options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=1)
        return batches.to_iter_dataset(read).mp_prefetch(options, worker_init_fn=_start_worker)

    def __iter__(self) -> TrainingBatches:
        return self

    def __next__(self) -> dict[str, dict[str, np.ndarray]]:
        batch = self._read()
        self._batches += 1
        self.replaced += sum(int(labels.pop("replaced").sum()) for labels in batch.values())
        if before := batch.pop("clips_2d", None):
            after = batch.get("clips", {})
            batch["clips"] = {
                name: np.concatenate([value, after[name]]) if after else value
                for name, value in before.items()
            }
        return batch

    def _read(self) -> dict[str, dict[str, np.ndarray]]:
        for _ in range(DEATHS):
            try:
                if self._iterators is not None:
                    return self._next()
                self._iterators = self._start()
                with parallel.spared_from_interrupts() if self._workers else nullcontext():
                    return self._next()  # the first one starts the workers
            except RuntimeError as error:  # Grain's, of a process that has ended
                if not self._workers or "terminated unexpectedly" not in str(error):
                    raise
                if "exit code 1." in str(error):  # Python's, of an exception
                    raise UserError(
                        "a data worker failed with the error above; data workers import the script "
                        "that starts them: what trains there must stand under "
                        '`if __name__ == "__main__":`'
                    ) from None
                logging.getLogger(__name__).warning("%s Starting all workers anew.", error)
                self.close()
        raise UserError(
            "data workers died again and again, most likely for want of memory "
            f"or of room in /dev/shm: take less than config.data.workers={self._workers}"
        )

    def _next(self) -> dict[str, dict[str, np.ndarray]]:
        # Copied, for what workers give lies in memory that is shared with them: it would be left
        # behind by whoever still holds a batch, as JAX on a CPU does, when the program ends.
        return {
            name: {key: np.array(value) for key, value in next(iterator).items()}
            for name, iterator in self._iterators.items()
        }

    def get_state(self) -> dict[str, int]:
        """Where the iterator stands, for `json`; the same on every host."""
        return {"batches": self._batches, "replaced": self.replaced}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Goes on from a state of an iterator with the same seed, datasets and batch sizes."""
        self.close()
        self._batches = int(state["batches"])
        self.replaced = int(state["replaced"])

    def close(self) -> None:
        """Ends threads and worker processes; the next batch starts them anew."""
        for iterator in (self._iterators or {}).values():
            iterator.close()
        self._iterators = None


@dataclasses.dataclass(frozen=True)
class _Pick:
    """i -> the i-th sample of a host that takes `rows` of every batch of `size`."""

    dataset: grain.MapDataset
    size: int
    batches: int
    """how many have been taken before"""
    rows: range

    def __call__(self, i: int) -> dict[str, np.ndarray]:
        batch, row = divmod(i, len(self.rows))
        return self.dataset[(self.batches + batch) * self.size + self.rows[row]]


def _share(sizes: Mapping[str, int], host: int, hosts: int) -> dict[str, range]:
    """Part -> which of its rows this host takes; parts of which it takes none are left out.

    Raises:
      UserError: a batch that the hosts cannot share evenly.
    """
    shares = {}
    for parts in MERGED.values():
        present = [name for name in parts if name in sizes]
        whole = sum(sizes[name] for name in present)
        if whole % hosts:
            names = " + ".join(f"config.data.{name}_per_batch" for name in present)
            raise UserError(
                f"{names} is {whole}: make it a multiple of the number of hosts ({hosts})"
            )
        first, end, begin = host * whole // hosts, (host + 1) * whole // hosts, 0
        for name in present:
            rows = range(max(first - begin, 0), min(end - begin, sizes[name]))
            shares |= {name: rows} if rows else {}
            begin += sizes[name]
    return shares


def _start_worker(*_) -> None:
    parallel.end_with_parent()
    _prepare_process()


def _prepare_process() -> None:
    """Settings of a process that reads: OpenCV's own threads would only fight with ours, and Grain
    asks absl for flags, which programs that do not use them never parse."""
    import absl.flags

    cv2.setNumThreads(0)
    if not absl.flags.FLAGS.is_parsed():
        absl.flags.FLAGS.mark_as_parsed()
