import threading

import pytest

from maed_jax import threads


def test_items_are_processed_in_parallel_and_returned_in_order(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    begun = []
    three = threading.Barrier(3, timeout=10)  # lets three pass at once; a single thread would wait

    def work(number):
        begun.append(number)
        three.wait()
        return number * number

    found = threads.map_in_threads(work, range(9))
    assert next(found) == (0, 0)
    assert len(begun) < 9  # only those in progress and a few more are held
    assert list(found) == [(n, n * n) for n in range(1, 9)]


def test_an_error_stops_what_has_not_started():
    done = []

    def work(number):
        if number == 1:
            raise ValueError("not that one")
        done.append(number)

    with pytest.raises(ValueError, match="not that one"):
        list(threads.map_in_threads(work, range(1000)))
    assert len(done) < 100
