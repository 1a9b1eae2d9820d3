"""Conversion of weights into work directories, for small networks; test_weights.py: the paper's."""

import json

import jax
import numpy as np
import parity_rules as rules
import pytest
from random_params import random_params
from torch_writer import write_torch

from maed_jax.errors import UserError
from maed_jax.models.maed import MAED, variable_shapes
from maed_jax.runs import restore as runs
from maed_jax.runs.checkpoints import read_config
from maed_jax.runs.restore import open_run, restore_estimator
from maed_jax.training.handover import hand_over
from maed_jax.weights.conversion import convert
from maed_jax.weights.imagenet import google_entry
from maed_jax.weights.layouts import paper_model, torch_entry
from maed_jax.weights.original import convert_original

SIZES = dict(
    image_size=32, stage_sizes=(1, 1), width=8, dim=16, depth=2, heads=2, feature_dim=24,
    decoder_width=8,
)  # fmt: skip


def original(encoder="ste", mode="parallel", decoder="iterative"):
    """A small network of the original's, and its state dict."""
    model = paper_model(encoder, mode, decoder, SIZES)
    entries = [torch_entry(path[1:], shape) for path, shape in variable_shapes(model).items()]
    return model, {e.names[0]: rules.weight(e.names[0], e.shape) for e in entries}


def google(path):
    """Writes Google's file for the small network; returns its arrays."""
    model = paper_model("ste", "parallel", "iterative", SIZES)
    arrays = {"head/kernel": np.zeros((24, 100), np.float32)}
    for ours, shape in variable_shapes(model).items():
        if entry := google_entry(ours[1:], shape, model.heads):
            arrays |= {name: rules.weight(name, entry.shape) for name in entry.names}
    np.savez(path, **arrays)
    return arrays


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(
    "variant", [("ste", "parallel", "iterative"), ("cnn", "parallel", "iterative")], ids="-".join
)
def test_an_original_checkpoint_becomes_a_work_directory(variant, tmp_path):
    model, state = original(*variant)
    state = {f"module.{name}": w for name, w in state.items()}
    state["module.decoder.smpl.v_template"] = np.zeros((3, 3), np.float32)
    write_torch(tmp_path / "maed.pth.tar", {"state_dict": state, "epoch": 3})
    found = convert(tmp_path / "maed.pth.tar", tmp_path / "run", sizes=SIZES)
    assert (found.kind, found.model) == ("original", model)
    assert found.report.left_out == ["decoder.smpl.v_template"] and not found.report.anew
    run = open_run(tmp_path / "run")
    assert run.step == 0 and run.estimator.model == model
    assert_same(run.estimator.variables, convert_original(state, model, run.estimator.body)[0])
    assert (tmp_path / "run" / "conversion.txt").read_text() == f"{found.report}\n"


def test_what_weights_do_not_tell_is_asked_for(tmp_path):
    np.savez(tmp_path / "w.npz", **original(mode="coupling")[1])
    with pytest.raises(UserError, match="fit the modes 'series', 'coupling' and .*--mode"):
        convert(tmp_path / "w.npz", tmp_path / "run", sizes=SIZES)
    assert not (tmp_path / "run").exists()
    convert(tmp_path / "w.npz", tmp_path / "run", mode="coupling", sizes=SIZES)
    assert read_config(tmp_path / "run").model.mode == "coupling"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"encoder": "cnn"}, "look like encoder 'ste', mode 'parallel', with decoder 'iterative'"),
        ({"mode": "vanilla"}, "do not fit encoder 'ste', mode 'vanilla'.*mode 'parallel'"),
        ({"decoder": "ktd"}, "look like .* with decoder 'iterative'"),
        ({"decoder": "ktd_random"}, "the original has no decoder 'ktd_random'; choose from ktd"),
    ],
    ids=str,
)
def test_a_choice_that_does_not_fit_is_named(choice, message, tmp_path):
    np.savez(tmp_path / "w.npz", **original()[1])
    with pytest.raises(UserError, match=message) as error:
        convert(tmp_path / "w.npz", tmp_path / "run", sizes=SIZES, **choice)
    assert "\n" not in str(error.value)


def test_other_mean_parameters_than_the_bodys_are_noted(tmp_path):
    state = original()[1] | {"decoder.init_pose": np.zeros((1, 144), np.float32)}
    np.savez(tmp_path / "w.npz", **state)
    report = convert(tmp_path / "w.npz", tmp_path / "run", sizes=SIZES).report
    assert "mean parameters other than the body's" in str(report)


def test_training_starts_from_imagenet_weights(tmp_path):
    arrays = google(tmp_path / "R50.npz")
    found = convert(tmp_path / "R50.npz", tmp_path / "run", decoder="iterative", sizes=SIZES)
    assert found.kind == "google" and found.report.left_out == ["head/kernel"]
    earlier = restore_estimator(tmp_path / "run").variables

    # The paper's stage 1: single frames. It has its own temporal embedding.
    stage1 = MAED(**SIZES, decoder="iterative", clip_length=1)
    clip = np.zeros((1, 1, 32, 32, 3), np.float32)
    fresh = jax.device_put(random_params(stage1.init, clip, None, method="regress", seed=7))
    got, report = hand_over(fresh, earlier, decoder=False)
    encoder = got["params"]["encoder"]
    np.testing.assert_array_equal(encoder["embedding"]["bias"], arrays["embedding/bias"])
    assert f"taken: {len(jax.tree.leaves(encoder)) - 1} arrays" in report
    assert "does not fit: encoder/time_embedding [1, 1, 1, 16] (before: [1, 16, 1, 16])" in report
    assert_same(got["params"]["decoder"], fresh["params"]["decoder"])


def test_an_unknown_decoder_is_refused(tmp_path):
    google(tmp_path / "R50.npz")
    with pytest.raises(UserError, match="no decoder 'tree'; choose from ktd, "):
        convert(tmp_path / "R50.npz", tmp_path / "run", decoder="tree", sizes=SIZES)
    assert not (tmp_path / "run").exists()


def test_a_torch_file_of_imagenet_weights_is_recognised(tmp_path):
    model, state = original("cnn", decoder="iterative")
    encoder = {n.removeprefix("encoder."): w for n, w in state.items() if n.startswith("encoder.")}
    write_torch(tmp_path / "resnet50.pth", encoder | {"fc.bias": np.zeros(1000, np.float32)})
    found = convert(tmp_path / "resnet50.pth", tmp_path / "run", decoder="iterative", sizes=SIZES)
    assert (found.kind, found.model, found.report.left_out) == ("torchvision", model, ["fc.bias"])
    stats = restore_estimator(tmp_path / "run").variables["batch_stats"]["encoder"]["bn1"]["mean"]
    np.testing.assert_array_equal(stats, encoder["bn1.running_mean"])


def test_nothing_is_overwritten(tmp_path):
    google(tmp_path / "R50.npz")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    for target in ("run", "R50.npz"):
        with pytest.raises(UserError, match="give a directory that does not exist yet"):
            convert(tmp_path / "R50.npz", tmp_path / target, sizes=SIZES)
    assert (tmp_path / "run" / "config.json").read_text() == "{}"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing_behind(error, tmp_path, monkeypatch):
    google(tmp_path / "R50.npz")

    def fail(*_):
        raise error

    monkeypatch.setattr(runs, "write_config", fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        convert(tmp_path / "R50.npz", tmp_path / "run", decoder="iterative", sizes=SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["R50.npz"]


def test_the_settings_are_those_of_a_training(tmp_path):
    np.savez(tmp_path / "w.npz", **original()[1])
    convert(tmp_path / "w.npz", tmp_path / "run", sizes=SIZES)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["body"] == "mannequin" and config["steps"] == 0
    assert config["model"]["depth"] == 2 and "parent" not in config["model"]


@pytest.mark.parametrize("names", [("a", "b.weight"), ("blocks.0.attn.qkv.weight",)])
def test_other_weights_are_refused(names, tmp_path):
    np.savez(tmp_path / "w.npz", **{name: np.zeros(2) for name in names})
    with pytest.raises(UserError, match="w.npz holds . arrays .* neither the original's"):
        convert(tmp_path / "w.npz", tmp_path / "run")
