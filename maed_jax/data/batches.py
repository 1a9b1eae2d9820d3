"""Makes batches from endless datasets: in threads or processes, across hosts, from any position."""

from __future__ import annotations

import dataclasses
import logging
import signal
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import cv2
import grain
import numpy as np

from maed_jax.data import parallel
from maed_jax.errors import UserError
from maed_jax.machine import available_cores

MAX_DEATHS = 3  # of worker processes during one batch that end the run

# The parts of each batch, in the order of its rows.
MERGED = {"clips": ("clips_2d", "clips"), "images": ("images",)}


class TrainingBatches:
    """Iterator over `{"clips": labels, "images": labels}`, either of which may be absent.

    Labels are dicts of NumPy arrays, see `data.samples`, without `replaced`, which is summed up.
    Clips of the part `clips_2d` come before those of `clips`, in one batch.

    If a worker process dies, for example when memory runs out, all workers are restarted and the
    order stays the same; `MAX_DEATHS` times during one batch are an error.

    Attributes:
      replaced: how many unreadable samples of this host were replaced by others.
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
          workers: number of processes that prepare batches; 0: threads of this process.
          threads: per process; default: one in each worker, or without workers one per core.
          shard: index of this host and number of hosts; each host makes its own rows of every
            batch, the first host the first rows.

        Raises:
          UserError: a batch size is not divisible by the number of hosts.
        """
        self.replaced = 0
        self._parts, self._workers = dict(parts), workers
        self._rows = _rows_of_host({name: size for name, (_, size) in parts.items()}, *shard)
        self._threads = threads or (1 if workers else available_cores())
        self._batches = 0
        self._iterators: dict[str, Iterator] = {}
        # Also when the program ends: workers would lose their shared memory before they stop.
        weakref.finalize(self, _close, self._iterators)
        _prepare_process()

    def _start(self) -> None:
        for name, rows in self._rows.items():
            dataset, size = self._parts[name]
            local = len(rows)
            pick = _Pick(dataset, size, self._batches, rows)
            samples = grain.MapDataset.range(len(dataset) // size * local).map(pick)
            if self._workers:
                batches = self._by_workers(samples.batch(local, drop_remainder=True))
            else:
                read = grain.ReadOptions(
                    num_threads=self._threads, prefetch_buffer_size=max(2 * local, self._threads)
                )
                batches = samples.to_iter_dataset(read).batch(local, drop_remainder=True)
            self._iterators[name] = iter(batches)

    def _by_workers(self, batches: grain.MapDataset) -> grain.IterDataset:
        """Lets each worker make whole batches, as transferring a small sample takes longer than
        making it; a worker with one thread uses its main thread."""
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
        if clips_2d := batch.pop("clips_2d", None):
            clips = batch.get("clips")
            batch["clips"] = {
                name: np.concatenate([value, clips[name]]) if clips else value
                for name, value in clips_2d.items()
            }
        return batch

    def _read(self) -> dict[str, dict[str, np.ndarray]]:
        for _ in range(MAX_DEATHS):
            try:
                if self._iterators:
                    return self._next()
                self._start()
                with self._starting():
                    return self._next()  # the first call starts the workers
            except RuntimeError as error:  # Grain's, when a process has ended
                if not self._workers or "terminated unexpectedly" not in str(error):
                    raise
                if "exit code 1." in str(error):  # Python's, after an exception
                    raise UserError(
                        "a data worker failed with the error above; data workers import the script "
                        "that starts them, so its training code must be under "
                        '`if __name__ == "__main__":`'
                    ) from None
                logging.getLogger(__name__).warning("%s Restarting all workers.", error)
                self.close()
        raise UserError(
            "data workers died repeatedly, most likely because memory or space in /dev/shm ran "
            f"out: use fewer than config.data.workers={self._workers}"
        )

    def _starting(self) -> AbstractContextManager:
        """Spares new workers from signals.

        The first process, which gets them once the first batch is there, still needs its workers
        after SIGTERM, and stops them in another way; if they died, it would also report their
        shared memory as leaked.
        """
        if not self._workers:
            return nullcontext()
        return parallel.spared_from(signal.SIGINT, signal.SIGTERM)

    def _next(self) -> dict[str, dict[str, np.ndarray]]:
        # Copied, because workers return shared memory, which would be leaked at exit if a batch is
        # still referenced then, as by JAX on a CPU.
        return {
            name: {key: np.array(value) for key, value in next(iterator).items()}
            for name, iterator in self._iterators.items()
        }

    def get_state(self) -> dict[str, int]:
        """Returns the iterator's position, serialisable as JSON: the same `batches` on every host,
        and its own `replaced`."""
        return {"batches": self._batches, "replaced": self.replaced}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues from the state of an iterator with the same seed, datasets and batch sizes."""
        self.close()
        self._batches = int(state["batches"])
        self.replaced = int(state["replaced"])

    def close(self) -> None:
        """Stops threads and worker processes; the next batch restarts them."""
        _close(self._iterators)


@dataclasses.dataclass(frozen=True)
class _Pick:
    """Maps i to the i-th sample of a host that takes `rows` of every batch of `size`."""

    dataset: grain.MapDataset
    size: int
    batches: int
    """how many batches were taken before"""
    rows: range

    def __call__(self, i: int) -> dict[str, np.ndarray]:
        batch, row = divmod(i, len(self.rows))
        return self.dataset[(self.batches + batch) * self.size + self.rows[row]]


def _rows_of_host(sizes: Mapping[str, int], host: int, hosts: int) -> dict[str, range]:
    """Returns part -> the rows of it that this host takes, without parts of which it takes none.

    Raises:
      UserError: a batch size is not divisible by the number of hosts.
    """
    taken = {}
    for parts in MERGED.values():
        present = [name for name in parts if name in sizes]
        total = sum(sizes[name] for name in present)
        if total % hosts:
            names = " + ".join(f"config.data.{name}_per_batch" for name in present)
            raise UserError(
                f"{names} is {total}: make it a multiple of the number of hosts ({hosts})"
            )
        start, stop, offset = host * total // hosts, (host + 1) * total // hosts, 0
        for name in present:
            rows = range(max(start - offset, 0), min(stop - offset, sizes[name]))
            taken |= {name: rows} if rows else {}
            offset += sizes[name]
    return taken


def _close(iterators: dict[str, Iterator]) -> None:
    """Closes and removes them."""
    while iterators:
        iterators.popitem()[1].close()


def _start_worker(*_) -> None:
    parallel.end_with_parent()
    _prepare_process()


def _prepare_process() -> None:
    """Prepares a process that reads: OpenCV's threads would only compete with ours, and Grain reads
    absl flags, which are never parsed in programs that do not use absl."""
    import absl.flags

    cv2.setNumThreads(0)
    if not absl.flags.FLAGS.is_parsed():
        absl.flags.FLAGS.mark_as_parsed()
