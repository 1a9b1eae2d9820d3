"""Interrupts and facts; test_checkpoints.py tests saving and damage."""

import asyncio
import signal

import jax
import pytest

from maed_jax.runs.checkpoint_parts import Facts, interrupts_held


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


@pytest.mark.parametrize("process", [0, 1, 5])
def test_a_process_that_was_not_there_when_facts_were_saved_reads_the_firsts(
    tmp_path, monkeypatch, process
):
    for saved in range(2):
        (tmp_path / f"process_{saved}.json").write_text(f'{{"position": {saved}}}')
    monkeypatch.setattr(jax, "process_index", lambda: process)

    async def load(facts):
        await (await facts.load(tmp_path))
        return facts.content

    found = asyncio.run(load(Facts()))
    assert found == {"position": {0: 0, 1: 1, 5: 0}[process]}
