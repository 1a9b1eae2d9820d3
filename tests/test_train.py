"""Runs of `maed train`: resumed, interrupted, handed over, and with errors."""

import gc
import json
import os
import signal
import time
import weakref

import jax
import numpy as np
import pytest
import tiny
from fake_dataset import write_fake_dataset
from test_step import equal

from maed_jax.errors import UserError
from maed_jax.files.locks import only_run_in
from maed_jax.runs import checkpoints
from maed_jax.runs.checkpoints import read_config, read_variables, saved_steps
from maed_jax.runs.config import load_config
from maed_jax.training import setup
from maed_jax.training import train as train_module
from maed_jax.training.profile import Profile


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    write_fake_dataset(directory, [20, 40, 9])
    write_fake_dataset(directory, [10, 12], name="other", split="validation")
    return directory


@pytest.fixture
def small(monkeypatch, data_dir):
    """Settings for the tiny model instead of MAED."""
    monkeypatch.setattr(
        "maed_jax.models.maed.MAED",
        lambda clip_length, encoder, **_: tiny.TinyModel(tiny.SIZE, clip_length, encoder == "cnn"),
    )

    def settings(variant="stage2", **changes):
        arguments = {"model.image_size": tiny.SIZE, "data.data_dir": data_dir}
        arguments |= {f"data.{k}": "(('fake/crops',1.0),)" for k in ("clips", "images")}
        arguments |= {"steps": 6, "log_every": 1, "checkpoint_every": 100} | changes
        overrides = [f"--config.{key}={value}" for key, value in arguments.items()]
        return load_config(f"debug:{variant}", overrides)

    return settings


def test_a_study_is_left_to_ablate(capsys, tmp_path):
    with pytest.raises(UserError, match="a study of many runs: maed ablate --config ablation"):
        train_module.main(["--config", "ablation", "--workdir", str(tmp_path / "run")])
    with pytest.raises(SystemExit):
        train_module.main(["--help"])
    printed = capsys.readouterr().out
    assert "\n            Variants: no_3dpw.\n" in printed and "\n  ablation" not in printed


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir):
    return [line["loss"] for line in lines(workdir) if "loss" in line]


def test_interrupted_run_ends_as_the_uninterrupted(small, tmp_path, monkeypatch, capsys):
    config = small()
    assert train_module.train(config, tmp_path / "straight") == 0

    from maed_jax.data.batches import TrainingBatches

    draw, drawn = TrainingBatches.__next__, []
    before = signal.getsignal(signal.SIGTERM)

    def draw_and_interrupt(self):
        drawn.append(1)
        if len(drawn) == 2:  # by a thread, which may be ahead of what handles the signal
            while signal.getsignal(signal.SIGTERM) == before:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(self)

    monkeypatch.setattr(TrainingBatches, "__next__", draw_and_interrupt)
    assert train_module.train(config, tmp_path / "broken") == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    _, stopped = read_variables(tmp_path / "broken")
    assert 1 <= stopped < 6 and f"stopped at step {stopped}" in capsys.readouterr().err

    assert train_module.train(config, tmp_path / "broken") == 0
    assert f"resuming from step {stopped}" in capsys.readouterr().err
    (straight, _), (broken, step) = (read_variables(tmp_path / n) for n in ("straight", "broken"))
    assert step == 6 and equal(straight, broken)
    assert losses(tmp_path / "straight") == losses(tmp_path / "broken")

    # Nothing is left to do, even if settings that do not affect numbers change; others are refused.
    assert train_module.train(small(keep=7), tmp_path / "broken") == 0
    assert read_config(tmp_path / "broken").keep == 7
    with pytest.raises(UserError, match="has a run with other settings: config.optimizer.l2"):
        train_module.train(small(**{"optimizer.l2": 0.5}), tmp_path / "broken")


def test_who_is_told_to_stop_saves_without_validating_first(small, tmp_path, monkeypatch):
    from maed_jax.training.stop import StopRequests
    from maed_jax.training.validation import Validation

    seen = []
    monkeypatch.setattr(Validation, "errors", lambda self, variables: seen.append(1) or {})
    monkeypatch.setattr(Validation, "inspect", lambda self, variables: ({}, []))

    def stop_at_two(self, step):
        self.signal = signal.SIGTERM if step == 2 else 0
        return bool(self.signal)

    monkeypatch.setattr(StopRequests, "after", stop_at_two)
    monkeypatch.setattr(checkpoints.Checkpoints, "is_best", lambda self, scores: False)
    config = small(eval_every=1, **{"data.val_dataset": "fake/crops", "data.val_split": "train"})
    assert train_module.train(config, tmp_path / "run") == signal.SIGTERM
    assert read_variables(tmp_path / "run")[1] == 2 and seen == [1]


def test_stage2_starts_from_stage1(small, tmp_path, capsys):
    train_module.train(small("stage1"), tmp_path / "one")
    config = small("stage2", checkpoint_every=1, keep=9, init_from=tmp_path / "one")
    train_module.train(config, tmp_path / "two")
    report = capsys.readouterr().err
    assert f"from {tmp_path / 'one'}, step 6" in report and "new: decoder/head/kernel" in report
    one, two = (
        read_variables(tmp_path / name, step)[0]["params"]
        for name, step in (("one", 6), ("two", 1))
    )
    for take, same in (("encoder", True), ("decoder", False)):
        layer = {"encoder": "embedding", "decoder": "head"}[take]
        near = np.abs(one[take][layer]["kernel"] - two[take][layer]["kernel"]).max() < 2e-4
        assert near == same  # one step of Adam is at most the learning rate, 1e-4


def test_an_earlier_stage_is_not_kept_in_memory(small, tmp_path, monkeypatch):
    train_module.train(small("stage1"), tmp_path / "one")
    read, kept = setup.read_variables, []

    def read_and_watch(workdir):
        found = read(workdir)
        kept.extend(weakref.ref(leaf) for leaf in jax.tree.leaves(found[0]))
        return found

    def record(self, step, results):
        gc.collect()
        alive.append(sum(leaf() is not None for leaf in kept))

    alive = []
    monkeypatch.setattr(setup, "read_variables", read_and_watch)
    monkeypatch.setattr(Profile, "after", record)
    train_module.train(small("stage2", steps=2, init_from=tmp_path / "one"), tmp_path / "two")
    assert kept and alive[-1] == 0


def test_batch_norm_goes_from_stage_to_stage(small, tmp_path, capsys):
    """Its running values start at 0 and 1 and move by a tenth per step."""
    settings = {"model.encoder": "cnn", "checkpoint_every": 1, "keep": 9}
    train_module.train(small("stage1", **settings), tmp_path / "one")
    train_module.train(small(init_from=tmp_path / "one", **settings), tmp_path / "two")
    stats = {
        (run, step): read_variables(tmp_path / run, step)[0]["batch_stats"]["encoder"]["bn"]["mean"]
        for run, step in (("one", 1), ("one", 6), ("two", 1))
    }
    difference = np.abs(stats["one", 6] - stats["one", 1]).max()
    assert 0 < np.abs(stats["two", 1] - stats["one", 6]).max() < difference
    assert "taken: 5 arrays" in capsys.readouterr().err  # including mean and variance


def test_gives_up_when_nothing_is_finite(small, tmp_path, monkeypatch):
    from maed_jax.data.batches import TrainingBatches

    draw = TrainingBatches.__next__

    def poisoned(self):
        batch = draw(self)
        batch["images"]["shape"] = np.full_like(batch["images"]["shape"], 1e30)
        return batch

    monkeypatch.setattr(TrainingBatches, "__next__", poisoned)
    with pytest.raises(UserError, match="2 steps in a row up to step 2"):
        train_module.train(small(max_skipped=2), tmp_path)
    assert lines(tmp_path)[0]["loss"] is None


def test_the_best_is_saved_whenever_it_is_found(small, tmp_path, monkeypatch):
    """Validates at every other step; no checkpoint is due at the better ones."""
    errors = iter([5.0, 3.0, 6.0, 4.0])

    class Scripted:
        def __init__(self, *_):
            pass

        def errors(self, variables):
            return {"pa_mpjpe": next(errors)}

        def inspect(self, variables):
            return {}, []

    monkeypatch.setattr("maed_jax.training.setup.Validation", Scripted)
    train_module.train(small(steps=9, eval_every=2, checkpoint_every=7, keep=9), tmp_path)
    assert saved_steps(tmp_path) == [2, 4, 7, 9]


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"data.clip_length": 9}, "data.clip_length=9 is more than"),
        ({"model.dim": 33}, "config.model.dim=33 must be a multiple of config.model.heads=2"),
        ({"model.encoder": "rnn"}, "no encoder 'rnn'; choose from ste, te, cnn"),
        ({"steps": 0}, "config.steps must be at least 1"),
        ({"accumulate": 0}, "config.accumulate must be at least 1"),
        ({"accumulate": 4}, "accumulate=4 parts over 1 devices"),
        ({"ema": 1.0}, "config.ema must be at least 0 and below 1"),
        ({"init_required": True}, "give its work directory with --config.init_from=DIR"),
        (
            {"init_from": "/nowhere"},
            "config.init_from=DIR gives another.*no work directory /nowhere",
        ),
        ({"mesh.data": 99}, "needs 99 x 1 devices"),
        ({"mesh.data": 4}, "clips_per_batch=2 does not divide over 4 devices"),
        ({"data.data_dir": "/nowhere"}, "no prepared dataset"),
        ({"body": "/nowhere.npz"}, "--config.body: /nowhere.npz does not exist"),
        ({"eval_every": 1}, "no split 'validation'"),
    ],
)
def test_impossible_settings_stop_before_anything_is_written(small, tmp_path, changes, says):
    with pytest.raises(UserError, match=says) as error:
        train_module.train(small(**changes), tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_a_second_run_in_the_same_place_is_refused(small, tmp_path):
    with only_run_in(tmp_path):
        with pytest.raises(UserError, match="another run is using"):
            train_module.train(small(), tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_debug_config_from_training_to_table(data_dir, tmp_path, capsys):
    """The real network: trains two steps, validates, restores the checkpoint, prints the table."""
    from maed_jax.evaluation import evaluate
    from maed_jax.runs.restore import restore_estimator

    write_fake_dataset(tmp_path / "data", [12, 9], split="train")
    work = str(tmp_path / "work")
    settings = {"data.data_dir": tmp_path / "data", "data.val_split": "train", "eval_every": 2}
    settings |= {f"data.{k}": "(('fake/crops',1.0),)" for k in ("clips", "images")}
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    arguments = ["--config", "debug:stage1", "--workdir", work, "--profile", "1:2"]
    train_module.main([*arguments, *overrides])
    validated = lines(tmp_path / "work")[-1]
    assert validated["validation/pa_mpjpe"] > 0 and 0 < validated["gates/block0"] < 1
    board = b"".join(f.read_bytes() for f in (tmp_path / "work" / "tensorboard").iterdir())
    assert b"validation" in board and b"PNG" in board  # an image of bodies
    assert list((tmp_path / "work" / "profile").rglob("*.xplane.pb"))

    estimator = restore_estimator(work)
    assert (estimator.image_size, estimator.clip_length) == (32, 1)
    assert estimator.body.h36m_regressor is not None

    files = {"--json": tmp_path / "table.json", "--predictions": tmp_path / "frames.npz"}
    arguments = [str(word) for pair in files.items() for word in pair]
    evaluate.main(["--checkpoint", work, "--split", "train", *arguments])
    table = capsys.readouterr().out
    assert "mean pose" in table and "PA-MPJPE" in table and "never compare" in table
    rows = json.loads(files["--json"].read_text())["rows"]
    assert [row["predictor"] for row in rows] == ["model", "mean pose", "model / mean pose"]
    assert all(row["frames"] == 21 and row["mpjpe"] > 0 for row in rows)
    frames = np.load(files["--predictions"])
    assert frames["joints"].shape == (21, 14, 3) and frames["pose"].shape == (21, 72)
    assert list(frames["track"][[0, 12]]) == ["track0", "track1"]
    np.testing.assert_allclose(frames["mpjpe"].mean(), rows[0]["mpjpe"], rtol=1e-5)
