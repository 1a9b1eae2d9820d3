"""Trained models from work directories: whose body, and what users are told."""

import jax
import pytest
import tiny
from test_step import run

from maed_jax.errors import UserError
from maed_jax.training import runs
from maed_jax.training.checkpoints import Checkpoints
from maed_jax.training.config import load_config


@pytest.fixture
def trained(tmp_path):
    """A work directory with a checkpoint and no config.json."""
    state, step = tiny.trainer()
    state, _ = run(jax.jit(step), state, [tiny.batch(0)])
    with Checkpoints(tmp_path) as saved:
        saved.save(state, {"place": 1})
    return tmp_path


def test_nothing_to_restore(tmp_path):
    with pytest.raises(UserError, match="there is no work directory"):
        runs.restore_estimator(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no checkpoint"):
        runs.restore_estimator(tmp_path)


def test_a_body_that_has_moved(trained, monkeypatch):
    config = load_config("debug", ["--config.body=/old/smpl"])
    monkeypatch.setattr(runs, "read_model", lambda workdir: (tiny.TinyModel(), config))
    with pytest.raises(UserError, match=r"--body gives another\): /old/smpl does not exist"):
        runs.restore_estimator(trained)
    assert runs.restore_estimator(trained, body="mannequin").body.name == "mannequin"


def test_crops_and_clips_are_those_of_its_evaluation(trained, monkeypatch):
    overrides = ["--config.data.eval_interval=3", "--config.data.augment.margin=1.7"]
    config = load_config("debug", overrides)
    monkeypatch.setattr(runs, "read_model", lambda workdir: (tiny.TinyModel(), config))
    estimator = runs.restore_estimator(trained, body="mannequin")
    assert (estimator.margin, estimator.interval) == (1.7, 3)


def test_no_config(trained):
    with pytest.raises(UserError, match="no config.json"):
        runs.restore_estimator(trained)
