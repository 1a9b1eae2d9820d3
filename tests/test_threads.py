import threading

import pytest

from maed_jax import threads


def test_items_are_worked_on_side_by_side_and_come_out_in_order(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    begun = []
    three = threading.Barrier(3, timeout=10)  # passes three at a time, so that one alone would wait

    def work(number):
        begun.append(number)
        three.wait()
        return number * number

    found = threads.map_in_threads(work, range(9))
    assert next(found) == (0, 0)
    assert len(begun) < 9  # no more are held than are worked on and a few that wait
    assert list(found) == [(n, n * n) for n in range(1, 9)]


def test_an_error_stops_what_has_not_begun():
    done = []

    def work(number):
        if number == 1:
            raise ValueError("not that one")
        done.append(number)

    with pytest.raises(ValueError, match="not that one"):
        list(threads.map_in_threads(work, range(1000)))
    assert len(done) < 100
