"""Profiler traces of some steps."""

import pytest

from maed_jax.errors import UserError
from maed_jax.training.profile import Profile


def test_the_steps_that_were_asked_for(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda directory, **_: calls.append(directory))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: calls.append("stop"))
    with Profile(tmp_path, "2:4") as trace:
        seen = []
        for step in range(6):
            trace.after(step, None)
            seen.append(len(calls))
    assert not capsys.readouterr().err
    assert seen == [0, 0, 1, 1, 2, 2] and calls == [str(tmp_path / "profile"), "stop"]
    with Profile(tmp_path, "2:9") as trace:  # the run ends before step 9
        trace.after(2, None)
    assert calls[2:] == [str(tmp_path / "profile"), "stop"]
    with Profile(tmp_path, None) as trace:
        trace.after(2, None)
    assert len(calls) == 4


def test_a_span_that_is_over_already_is_said(tmp_path, capsys):
    with Profile(tmp_path, "2:4") as trace:
        for step in range(3, 6):
            trace.after(step, None)
    said = capsys.readouterr().err
    assert said == "maed: --profile 2:4 traces nothing: this run resumes from step 3\n"


@pytest.mark.parametrize("span", ["5", "5:", "5:5", "a:b", "-1:3", "²:5"])
def test_mistakes(tmp_path, span):
    with pytest.raises(UserError, match="--profile takes steps such as 100:110"):
        Profile(tmp_path, span)
