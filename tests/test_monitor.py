"""Metrics on disk: means, one line per step, resumed runs, and the end of hopeless ones."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.training.monitor import Monitor


def monitor(workdir, start=0, log_every=2):
    items = {"clips": 0, "images": 8}
    return Monitor(workdir, start=start, total=10, log_every=log_every, items=items, max_skipped=3)


def metrics(loss, skipped=0):
    return {"loss": jnp.float32(loss), "skipped": jnp.int32(skipped)}


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_means_and_throughput(tmp_path):
    with monitor(tmp_path) as m:
        for step in range(1, 5):
            m.record(step, metrics(step))
    got = lines(tmp_path)
    assert [(line["step"], line["loss"]) for line in got] == [(2, 1.5), (4, 3.5)]
    assert got[0]["images_per_second"] > 0 and "clips_per_second" not in got[0]
    assert list((tmp_path / "tensorboard").iterdir())


def test_rates_leave_compiling_and_validation_out(tmp_path, monkeypatch):
    clock = iter([10.0, 10.0, 12.0, 12.0, 50.0, 51.0, 51.0])
    fake = types.SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("maed_jax.training.monitor.time", fake)
    options = dict(start=0, total=10, log_every=1, items={"clips": 4}, max_skipped=3)
    with Monitor(tmp_path, **options, rates=lambda rate: {"teraflops_per_second": 2 * rate}) as m:
        m.record(1, metrics(1))  # at 10, after compiling
        m.record(2, metrics(1))  # at 12
        m.restart_clock()  # at 50, after a validation
        m.record(3, metrics(1))  # at 51
    got = [
        (line.get("clips_per_second"), line.get("teraflops_per_second")) for line in lines(tmp_path)
    ]
    assert got == [(None, None), (2.0, 1.0), (4.0, 2.0)]


def test_samples_that_could_not_be_read_are_reported(tmp_path, capsys):
    replaced = iter([5, 5, 8])  # 5 in an earlier part of the run
    options = dict(start=0, total=10, log_every=1, items={"clips": 4}, max_skipped=3)
    with Monitor(tmp_path, **options, replaced=lambda: next(replaced)) as m:
        m.record(1, metrics(1))
        m.record(2, metrics(1))
    assert [line["samples_replaced"] for line in lines(tmp_path)] == [0, 3]
    assert capsys.readouterr().err.count("3 samples could not be read") == 1


@pytest.mark.parametrize(
    "backend, fraction, count", [("gpu", 0.5, 1), ("gpu", 0.1, 0), ("cpu", 0.5, 0)]
)
def test_a_starving_accelerator_is_reported_once(
    backend, fraction, count, tmp_path, monkeypatch, capsys
):
    now = iter(range(100))
    fake = types.SimpleNamespace(monotonic=lambda: float(next(now)))
    monkeypatch.setattr("maed_jax.training.monitor.time", fake)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    waited = iter(fraction * i for i in range(100))  # called twice per line except for the first
    options = dict(start=0, total=10, log_every=1, items={"clips": 4}, max_skipped=3)
    with Monitor(tmp_path, **options, waited=lambda: next(waited)) as m:
        for step in range(1, 9):
            m.record(step, metrics(1))
    assert [line["waited_for_data"] for line in lines(tmp_path)[1:]] == [
        pytest.approx(fraction)
    ] * 7
    assert capsys.readouterr().err.count("more worker processes (--config.data.workers)") == count


def test_images_go_to_tensorboard(tmp_path):
    with monitor(tmp_path) as m:
        m.write_images(3, "validation", [])
        m.write_images(3, "validation", [np.zeros((4, 8, 3), np.uint8)] * 2)
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.read_bytes().count(b"PNG") == 1


def test_skipped_steps_are_left_out_of_means(tmp_path):
    with monitor(tmp_path) as m:
        m.record(1, metrics(float("nan"), skipped=1))
        m.record(2, metrics(5.0))
        m.record(3, metrics(float("nan"), skipped=1))
        m.record(4, metrics(float("inf"), skipped=2))
    assert [(line["loss"], line["skipped"]) for line in lines(tmp_path)] == [(5.0, 1), (None, 2)]


def test_gives_up_after_too_many_skips_in_a_row(tmp_path):
    with monitor(tmp_path) as m:
        for step, skipped in enumerate([1, 2, 0, 1, 2], start=1):
            m.record(step, metrics(1.0, skipped))
        with pytest.raises(UserError, match="3 steps in a row up to step 6"):
            m.record(6, metrics(1.0, 3))


def test_a_resumed_run_cuts_what_comes_again(tmp_path):
    with monitor(tmp_path) as m:
        for step in range(1, 7):
            m.record(step, metrics(step))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\n[7]\n{"step": "7"}\n{"step": 7, "lo')  # damaged; killed while writing
    with monitor(tmp_path, start=4) as m:
        m.record(5, metrics(50))
        m.record(6, metrics(60))
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [
        (2, 1.5),
        (4, 3.5),
        (6, 55.0),
    ]
