"""Validation: the same errors on any number of devices."""

import contextlib

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from fake_dataset import write_fake_dataset

from maed_jax.body.mannequin import mannequin
from maed_jax.data.images import normalise
from maed_jax.errors import UserError
from maed_jax.models.maed import Prediction
from maed_jax.runs.config import load_config
from maed_jax.training import sharding, validation


def test_neither_devices_nor_subsets_change_anything(tmp_path):
    for name, subsets in (("fake", None), ("split", ("plain", "occlusion"))):
        write_fake_dataset(tmp_path, [9, 5], name=name, split="validation", subsets=subsets)
    c = load_config("debug", [f"--config.data.data_dir={tmp_path}", "--config.data.interval=1"])
    c.data.clips, c.model.image_size, c.data.eval_interval = (("other", 1.0),), tiny.SIZE, 1
    model, body = tiny.TinyModel(), mannequin()
    with pytest.raises(UserError, match="other"):
        validation.Validation(c, model, body, sharding.make_mesh(1, 1))
    c.data.clips_per_batch, c.data.images = 0, (("third", 1.0),)
    with pytest.raises(UserError, match="third"):  # not the dataset of clips: clips_per_batch is 0
        validation.Validation(c, model, body, sharding.make_mesh(1, 1))
    state, _ = tiny.trainer()

    def errors(dataset, devices):
        c.data.val_dataset = dataset
        mesh = sharding.make_mesh(devices, 1)
        return validation.Validation(c, model, body, mesh).errors(state.variables)

    one, eight = errors("fake/crops", 1), errors("split/crops", 8)
    assert set(one) == {"mpjpe", "pa_mpjpe", "pve", "accel"} and one["pa_mpjpe"] > 0
    np.testing.assert_allclose(list(one.values()), list(eight.values()), rtol=1e-4)


def test_labels_of_another_body_are_refused_at_once(tmp_path):
    edit = lambda i, record: record.update(body="smpl")  # noqa: E731
    write_fake_dataset(tmp_path, [5], split="validation", edit=edit)
    c = load_config("debug", [f"--config.data.data_dir={tmp_path}"])
    c.data.val_dataset, c.model.image_size = "fake/crops", tiny.SIZE
    with pytest.raises(UserError, match="'smpl', but the model's is 'mannequin': .*--config.body"):
        validation.Validation(c, tiny.TinyModel(), mannequin(), sharding.make_mesh(1, 1))


def test_a_split_without_poses_is_refused_at_once(tmp_path):
    for name, known in (("fake", 0), ("some", 1)):
        edit = lambda i, record, known=known: record.update(has_smpl=i < known)  # noqa: E731
        write_fake_dataset(tmp_path, [5], name=name, split="validation", edit=edit)
    c = load_config("debug", [f"--config.data.data_dir={tmp_path}"])
    c.data.val_dataset, c.model.image_size = "fake/crops", tiny.SIZE
    with pytest.raises(UserError, match="'validation' has no pose labels to validate on"):
        validation.Validation(c, tiny.TinyModel(), mannequin(), sharding.make_mesh(1, 1))
    c.data.val_dataset = "some/crops"
    validation.Validation(c, tiny.TinyModel(), mannequin(), sharding.make_mesh(1, 1))


def test_chosen_windows_without_poses_are_refused_at_once(tmp_path):
    edit = lambda i, record: record.update(has_smpl=i == 2)  # noqa: E731
    write_fake_dataset(tmp_path, [1] * 5, split="validation", edit=edit)
    for windows, refused in ((5, False), (2, True)):
        c = load_config("debug", [f"--config.data.data_dir={tmp_path}"])
        c.data.val_dataset, c.model.image_size = "fake/crops", tiny.SIZE
        c.eval_windows = windows
        says = "no pose labels to validate on in the windows chosen by config.eval_windows=2"
        with pytest.raises(UserError, match=says) if refused else contextlib.nullcontext():
            validation.Validation(c, tiny.TinyModel(), mannequin(), sharding.make_mesh(1, 1))


class Bright:
    """A model whose gates and vertices are the brightness of a frame."""

    def apply(self, variables, clip, body, *, vertices, mutable):
        b, t = clip.shape[:2]
        bright = clip.mean((2, 3, 4))[..., None]
        shapes = (3,), (72,), (10,), (24, 3, 3), (49, 3), (49, 2), (0,), (3,)
        prediction = Prediction(*(jnp.zeros((b, t, *shape)) for shape in shapes))
        blocks = {"block0": {"attention": {"gates": (bright,)}}, "block1": {"attention": {}}}
        return prediction.replace(verts=bright[..., None]), {"intermediates": {"encoder": blocks}}


def test_the_first_clips_are_looked_at(tmp_path, monkeypatch):
    write_fake_dataset(tmp_path, [35], split="validation")
    c = load_config("debug", [f"--config.data.data_dir={tmp_path}"])
    c.data.val_dataset, c.model.image_size = "fake/crops", tiny.SIZE
    c.model.clip_length, c.data.eval_interval = 5, 1
    run = validation.Validation(c, Bright(), mannequin(), sharding.make_mesh(8, 1))
    first = next(iter(run._clips))
    clips = first.track >= 0
    assert 4 < clips.sum() < len(clips) and (np.diff(first.frame[clips]) == 1).all()
    bright = normalise(first.image).mean((2, 3, 4))
    drawn = []

    def draw(crops, verts, camera, faces):
        drawn.extend(verts)
        return 255 - crops

    monkeypatch.setattr("maed_jax.visual.crops.draw_crops", draw)
    for count in (4, clips.sum()):
        gates, images = run.inspect({})
        assert gates == {"gates/block0": pytest.approx(bright[clips].mean(), rel=1e-4)}
        middle = first.image[:count, 2]
        np.testing.assert_array_equal(images, np.concatenate([middle, 255 - middle], axis=2))
        monkeypatch.setattr(validation, "DRAWN_CLIPS", 9)  # more than the split has
    np.testing.assert_allclose(np.ravel(drawn[:4]), bright[:4, 2], rtol=1e-4)

    c.data.augment.margin *= 2
    wider = validation.Validation(c, Bright(), mannequin(), sharding.make_mesh(8, 1))
    assert (next(iter(wider._clips)).image != first.image).any()

    def cannot(*_):
        raise UserError("no PyVista")

    monkeypatch.setattr("maed_jax.visual.crops.draw_crops", cannot)
    assert run.inspect({})[1] == []
