"""Work in processes keeps its order, and stops when something goes wrong."""

import os
import signal
import time

import pytest

from maed_jax.data import parallel
from maed_jax.errors import UserError


def slow_square(x):
    time.sleep(0.02 * (x % 3))
    return x * x, os.getpid()


def fail_on_three(x):
    if x == 3:
        raise UserError("three is not for us")
    return x


def die_on_two(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def where(_):
    import maed_jax.datasets.mannequins  # importable in every worker

    return os.environ["JAX_PLATFORMS"], maed_jax.datasets.mannequins.__name__


def test_results_come_in_order_from_other_processes():
    results = list(parallel.in_order(slow_square, range(20), processes=2))
    assert [square for square, _ in results] == [x * x for x in range(20)]
    pids = {pid for _, pid in results}
    assert os.getpid() not in pids and len(pids) <= 2


def test_errors_of_workers_come_through():
    results = parallel.in_order(fail_on_three, range(100), processes=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="three is not for us"):
        next(results)


def test_a_dying_worker_is_reported():
    with pytest.raises(UserError, match="worker process died"):
        list(parallel.in_order(die_on_two, range(10), processes=2))


def test_stopping_early_ends_the_processes():
    import multiprocessing

    before = set(multiprocessing.active_children())
    results = parallel.in_order(slow_square, range(1000), processes=2)
    next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    assert set(multiprocessing.active_children()) <= before


def test_workers_find_the_datasets_and_leave_the_accelerator_alone():
    platform, name = next(parallel.in_order(where, [0], processes=1))
    assert platform == "cpu" and name == "maed_jax.datasets.mannequins"
