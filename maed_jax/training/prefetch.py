"""Prepares batches and sends them to the devices while these work on the previous ones."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

QUEUE_SIZE = 2  # maximum number of batches in the queue


class Prefetch:
    """Yields `(batch, position)`, where position is the source's state just after that batch.

    Checkpoints need this pair because the source itself has already run ahead.

    Args:
      source: an iterator with `get_state()`, like Grain's; nothing else may use it from now on.
      place: puts a batch on the devices.

    `waited` is the total time in seconds that the consumer has waited for batches.
    """

    def __init__(self, source: Any, place: Callable[[Any], Any]):
        self.waited = 0.0
        self._queue: queue.Queue = queue.Queue(QUEUE_SIZE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source, place), daemon=True)
        self._thread.start()

    def _fill(self, source, place) -> None:
        try:
            for batch in source:
                if not self._put((place(batch), source.get_state(), None)):
                    return
            self._put((None, None, StopIteration()))
        except BaseException as error:  # raised where the batch is requested
            self._put((None, None, error))

    def _put(self, item) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self

    def __next__(self) -> tuple[Any, Any]:
        start = time.monotonic()
        batch, position, error = self._queue.get()
        self.waited += time.monotonic() - start
        if error is not None:
            self.close()
            raise error
        return batch, position

    def close(self) -> None:
        """Stops the thread and drops the batches in the queue."""
        self._stop.set()
        self._thread.join(timeout=10)

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *exception) -> None:
        self.close()
