"""Prefetching keeps the order, pairs each batch with its position, and passes errors on."""

import time

import pytest

from maed_jax.training.prefetch import QUEUE_SIZE, Prefetch


class Count:
    def __init__(self, end=5, fails_at=None):
        self.n, self.end, self.fails_at = 0, end, fails_at

    def __iter__(self):
        return self

    def __next__(self):
        if self.n == self.fails_at:
            raise OSError("disk")
        if self.n == self.end:
            raise StopIteration
        self.n += 1
        return self.n

    def get_state(self):
        return {"n": self.n}


def test_order_and_positions():
    with Prefetch(Count(), lambda x: 10 * x) as batches:
        assert list(batches) == [(10 * n, {"n": n}) for n in range(1, 6)]


def test_waiting_is_timed():
    class Slow(Count):
        def __next__(self):
            time.sleep(0.1)
            return super().__next__()

    with Prefetch(Slow(end=3), lambda x: x) as batches:
        assert len(list(batches)) == 3
        assert 0.25 < batches.waited < 2


def test_runs_ahead_no_further_than_it_may():
    source = Count(end=100)
    with Prefetch(source, lambda x: x) as batches:
        assert next(batches) == (1, {"n": 1})
        time.sleep(0.3)
        assert source.n <= 1 + QUEUE_SIZE + 1  # consumed, in the queue, in the thread


def test_errors_reach_the_reader():
    with Prefetch(Count(fails_at=2), lambda x: x) as batches:
        assert [next(batches)[0], next(batches)[0]] == [1, 2]
        with pytest.raises(OSError, match="disk"):
            next(batches)


def test_close_ends_the_thread():
    batches = Prefetch(Count(end=10**9), lambda x: x)
    next(batches)
    batches.close()
    assert not batches._thread.is_alive()
