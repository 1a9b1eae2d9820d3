"""Interrupts while reading a checkpoint; test_checkpoints.py tests saving and damage."""

import signal

import pytest

from maed_jax.runs.checkpoint_parts import interrupts_held


def swallow_one():
    """Swallows exceptions, like Orbax while it reads a checkpoint."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        pass


def test_an_interrupt_while_a_checkpoint_is_read_comes_afterwards():
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        swallow_one()
        reached.append("end")
    assert reached == ["end"]


def test_a_second_interrupt_comes_at_once():
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        swallow_one()
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")


def test_interrupts_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with interrupts_held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
