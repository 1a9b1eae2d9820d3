"""Requests to stop, alone and among several processes."""

import os
import signal

import pytest

from maed_jax.training import stop


def test_the_first_is_noted_and_the_second_acts(capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop.StopRequests() as requests:
        assert not requests.after(1)
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.after(2) and requests.signal == signal.SIGINT
        assert "repeat to stop immediately" in capsys.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_several_processes_stop_where_jax_says(monkeypatch):
    """JAX handles SIGTERM, and Ctrl-C is turned into it."""
    passed_on = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: passed_on.append(number))
    try:
        monkeypatch.setattr(stop.jax, "process_count", lambda: 2)
        monkeypatch.setattr(
            stop.multihost_utils, "reached_preemption_sync_point", lambda step: step == 3
        )
        with stop.StopRequests() as requests:
            os.kill(os.getpid(), signal.SIGINT)
            assert passed_on == [signal.SIGTERM]
            assert [requests.after(step) for step in (1, 2, 3)] == [False, False, True]
            assert requests.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
