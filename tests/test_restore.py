"""Trained models from work directories: which body they use, and error messages."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maed_jax.body.mannequin import mannequin
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.models.maed import MAED
from maed_jax.runs import restore as runs
from maed_jax.runs.checkpoints import Checkpoints, write_config
from maed_jax.runs.config import load_config
from maed_jax.runs.state import create_state


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A work directory with the network of `configs/debug.py`, all parameters zero."""
    directory, config = tmp_path_factory.mktemp("trained"), load_config("debug")
    clip = jax.ShapeDtypeStruct((1, 1, 32, 32, 3), jnp.float32)
    init = MAED(**config.model).init
    shapes = jax.eval_shape(init, jax.random.key(0), clip, mannequin())
    variables = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    with Checkpoints(directory) as saved:
        saved.save(create_state(variables, optax.identity()), None)
    write_config(directory, config)
    return directory


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of `trained_once` for one test."""
    return shutil.copytree(trained_once, tmp_path / "run")


def change(workdir, section, name, value):
    content = json.loads((workdir / "config.json").read_text())
    (content[section] if section else content)[name] = value
    (workdir / "config.json").write_text(json.dumps(content))


def test_a_run_is_opened(trained):
    run = runs.open_run(trained)
    assert run.step == 0 and run.estimator.body.name == "mannequin"
    assert run.estimator.model == MAED(**run.config.model) and run.estimator.margin == 1.3


def test_nothing_to_restore(tmp_path):
    with pytest.raises(UserError, match="there is no work directory"):
        runs.restore_estimator(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no checkpoint"):
        runs.restore_estimator(tmp_path)


def test_runs_below_are_named(trained, tmp_path):
    with pytest.raises(UserError, match=f"but contains work directories: give {trained}$"):
        runs.restore_estimator(tmp_path)


def test_what_is_saved_comes_back(trained, tmp_path):
    restored = runs.restore_estimator(trained)
    variables = jax.tree.map(lambda a: a + 1, restored.variables)
    before = Estimator(restored.model, variables, mannequin(), margin=1.7, interval=3)
    runs.save_estimator(tmp_path / "saved", before)
    after = runs.restore_estimator(tmp_path / "saved")
    jax.tree.map(np.testing.assert_array_equal, after.variables, variables)
    assert (after.model, after.margin, after.interval) == (before.model, 1.7, 3)
    with pytest.raises(UserError, match="saved is not empty"):
        runs.save_estimator(tmp_path / "saved", before)


def test_what_could_not_be_restored_is_not_saved(trained, tmp_path):
    good = runs.restore_estimator(trained)
    half = {"params": {"encoder": good.variables["params"]["encoder"]}}
    with pytest.raises(UserError, match=r"do not fit its model \(.* absent in the variables"):
        runs.save_estimator(tmp_path / "bad", dataclasses.replace(good, variables=half))
    licensed = dataclasses.replace(good, body=dataclasses.replace(mannequin(), name="smpl"))
    for estimator, body in ((licensed, "mannequin"), (good, "path/to/smpl")):
        with pytest.raises(UserError, match="give its path as body=PATH"):
            runs.save_estimator(tmp_path / "bad", estimator, body=body)
    assert not (tmp_path / "bad").exists()
    runs.save_estimator(tmp_path / "good", licensed, body="path/to/smpl")
    assert runs.read_model(tmp_path / "good")[1].body == str(Path("path/to/smpl").absolute())


def test_a_body_that_has_moved(trained):
    change(trained, "", "body", "/old/smpl")
    with pytest.raises(UserError, match=r"--body gives another\): /old/smpl does not exist"):
        runs.restore_estimator(trained)
    assert runs.restore_estimator(trained, body="mannequin").body.name == "mannequin"


def test_crops_and_clips_are_those_of_its_evaluation(trained):
    change(trained, "data", "eval_interval", 3)
    content = json.loads((trained / "config.json").read_text())
    content["data"]["augment"]["margin"] = 1.7
    (trained / "config.json").write_text(json.dumps(content))
    estimator = runs.restore_estimator(trained)
    assert (estimator.margin, estimator.interval) == (1.7, 3)


def test_no_config(trained):
    (trained / "config.json").unlink()
    with pytest.raises(UserError, match="no config.json"):
        runs.restore_estimator(trained)


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("heads", 0, "config.json: config.model.heads must be at least 1"),
        ("heads", 3, "config.json: .* a multiple of config.model.heads=3"),
        ("depth", 1.5, "cannot be read: model.depth must be a whole number, not 1.5"),
        ("decoder", "folded", "config.json: there is no decoder 'folded'"),
        ("extra", 1, "is from another version: .*'extra'"),
        ("depth", 2, r"encoder/block1/\S* is \(.* in the model but absent in the variables"),
        ("depth", 10**12, "is absent in the model but"),
        ("image_size", 10**25, "is absent in the model but"),
        ("image_size", 64, "encoder/space_embedding is"),
        ("stage_sizes", (2,), "encoder/root/block1/unit2/"),
        ("stage_sizes", (1, 1), "encoder/"),
        ("clip_length", 3, r"encoder/time_embedding is \(1, 3, .* but \(1, 4,"),
        ("decoder", "iterative", "decoder/"),
        ("encoder", "cnn", "encoder/"),
    ],
)
def test_a_config_of_another_network_is_refused(trained, name, value, says):
    change(trained, "model", name, value)
    with pytest.raises(UserError, match=says) as error:
        runs.open_run(trained)
    assert str(trained) in str(error.value) and "\n" not in str(error.value)


def test_a_smaller_network_is_not_taken_out_of_a_larger_one(trained):
    change(trained, "model", "mode", "vanilla")  # which has no temporal embedding
    with pytest.raises(UserError, match="absent in the model but"):
        runs.open_run(trained)


def test_crops_that_cannot_be_are_refused(trained):
    content = json.loads((trained / "config.json").read_text())
    change(trained, "data", "augment", content["data"]["augment"] | {"margin": -1.3})
    with pytest.raises(UserError, match="augment.margin must be above 0"):
        runs.open_run(trained)
