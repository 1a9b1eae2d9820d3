"""Compiled programs, their costs and their memory."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from maed_jax.bench import programs


def test_a_program_knows_its_cost_and_runs():
    x = jnp.ones((256, 128))
    program = programs.compile(lambda x: x @ x.T, x)
    assert program.count.operations == 2 * 256 * 256 * 128
    assert program.memory["arguments"] == x.nbytes
    assert program.memory["results"] == 256 * 256 * 4
    assert program.memory["all"] >= x.nbytes + 256 * 256 * 4
    assert program.compile_seconds > 0 and program() is None
    assert (program.run() == 128).all()


@pytest.mark.parametrize(("backend", "calls"), [("cpu", 1), ("gpu", programs.QUEUED_CALLS)])
def test_accelerators_are_asked_for_several_at_a_time(backend, calls, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    ran = []
    program = programs.Program(lambda: ran.append(0), None, 0.0, {})
    program()
    assert program.calls == len(ran) == calls


def test_a_program_may_take_all_of_a_device(monkeypatch):
    assert programs.memory_limit() == 8 * 2**30

    class Device:
        def memory_stats(self):
            return {"bytes_limit": 80 * 2**30}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert programs.memory_limit() == 80 * 2**30


TOUCHING = """
from maed_jax.bench import programs
before = programs.peak_bytes()
block = bytearray(before + 2**26)  # zeros that are never touched take nothing
block[:: 2**12] = b"1" * len(block[:: 2**12])
assert programs.peak_bytes() >= before + 2**26
"""


def test_memory_taken_grows_with_what_is_touched():
    """Runs in a new process, whose peak is small: exceeding that of all tests would take long.

    On Linux a process inherits its parent's peak, so its parent is a shell.
    """
    subprocess.run(["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, TOUCHING], check=True)
