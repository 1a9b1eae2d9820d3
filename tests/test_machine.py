import os
import sys

import pytest

from maed_jax import machine


@pytest.mark.parametrize(
    ("known", "cores"),
    [
        (("process_cpu_count", "sched_getaffinity", "cpu_count"), 2),
        (("sched_getaffinity", "cpu_count"), 3),
        (("cpu_count",), 4),
        ((), 1),
    ],
)
def test_the_cores_are_those_that_this_process_may_use(known, cores, monkeypatch):
    answers = {
        "process_cpu_count": lambda: 2,
        "sched_getaffinity": lambda _: {0, 5, 6},
        "cpu_count": lambda: 4 if known else None,
    }
    for name, answer in answers.items():
        if name in known or name == "cpu_count":
            monkeypatch.setattr(os, name, answer, raising=False)
        else:
            monkeypatch.delattr(os, name, raising=False)
    assert machine.available_cores() == cores


def test_environment_is_known(monkeypatch):
    import jax

    found = machine.environment()
    assert found["cores"] >= 1 and found["cpu"] and found["jax"] == jax.__version__
    monkeypatch.delitem(sys.modules, "jax")  # JAX is not imported just for the report
    assert set(found) - set(machine.environment()) == {"device", "jax", "flax"}
