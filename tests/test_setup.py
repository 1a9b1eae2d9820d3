"""The setup of a run before its first step."""

import contextlib

import jax
import numpy as np
import pytest
import tiny
from fake_dataset import write_fake_dataset
from test_step import equal

from maed_jax.errors import UserError
from maed_jax.runs.checkpoints import Checkpoints, write_config
from maed_jax.runs.config import load_config
from maed_jax.training import sharding
from maed_jax.training.setup import _check_heads, initial_state, set_up


@pytest.fixture
def settings(tmp_path, monkeypatch):
    write_fake_dataset(tmp_path / "data", [20, 40])
    monkeypatch.setattr(
        "maed_jax.models.maed.MAED",
        lambda clip_length, encoder, **_: tiny.TinyModel(tiny.SIZE, clip_length, encoder == "cnn"),
    )

    def make(**changes):
        arguments = {"model.image_size": tiny.SIZE, "data.data_dir": tmp_path / "data"}
        arguments |= {f"data.{k}": "(('fake/crops',1.0),)" for k in ("clips", "images")}
        overrides = [f"--config.{key}={value}" for key, value in (arguments | changes).items()]
        return load_config("debug:stage2", overrides)

    return make


def test_a_new_run_starts_from_what_its_seed_draws(settings, tmp_path):
    states = []
    for number, seed in enumerate((1, 1, 2)):
        config, messages = settings(seed=seed, ema=0.9), []
        setup = set_up(config)
        assert setup.items == {"clips": 2, "images": 4} and setup.validation is None
        workdir = tmp_path / str(number)
        with Checkpoints(workdir) as saved:
            states.append(initial_state(setup, config, saved, workdir, messages.append))
        same = jax.tree.map(
            lambda a, b: (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding),
            states[-1], setup.abstract,
        )  # fmt: skip
        assert all(jax.tree.leaves(same)) and not messages
    one, again, other = states
    assert equal(one, again) and not equal(one.params, other.params)
    assert equal(one.params, one.ema)


def test_weights_for_another_number_of_heads_are_refused(settings, tmp_path):
    config = settings()
    setup = set_up(config)
    earlier, workdir = tmp_path / "earlier", tmp_path / "later"
    with Checkpoints(earlier) as saved:
        state = initial_state(setup, config, saved, earlier, print)
        saved.save(state, setup.batches.get_state())
    write_config(earlier, config)
    heads = config.model.heads
    for now in (heads, 2 * heads):
        later = settings(init_from=earlier, **{"model.heads": now})
        with Checkpoints(workdir) as saved:
            if now == heads:
                initial_state(set_up(later), later, saved, workdir, print)
                continue
            with pytest.raises(UserError, match=f"set --config.model.heads={heads}"):
                initial_state(set_up(later), later, saved, workdir, print)


def test_a_saved_run_goes_on_where_its_batches_were(settings, tmp_path):
    config, messages = settings(), []
    setup = set_up(config)
    with Checkpoints(tmp_path) as saved:
        state = initial_state(setup, config, saved, tmp_path, messages.append)
        next(setup.batches)
        saved.save(state, setup.batches.get_state())
    write_config(tmp_path, config)
    expected = next(setup.batches)
    later = set_up(config)
    with Checkpoints(tmp_path) as saved:
        restored = initial_state(later, config, saved, tmp_path, messages.append)
        with pytest.raises(UserError, match="a run with other settings: config.seed"):
            initial_state(later, settings(seed=5), saved, tmp_path, messages.append)
    assert equal(restored, state) and "resuming from step 0" in messages[0]
    for found, wanted in zip(jax.tree.leaves(next(later.batches)), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(found, wanted)


def test_operations_of_a_divided_batch_are_those_of_the_whole(settings):
    operations = []
    for parts in (1, 2):
        config = settings(accumulate=parts, **{"optimizer.name": "muon"})
        setup = set_up(config)
        batch = sharding.to_devices(next(setup.batches), setup.mesh)
        setup.step(setup.init(), batch, setup.step_key)
        operations.append(setup.step.operations)
    assert operations[1] == pytest.approx(operations[0], rel=0.02) and operations[0] > 0


@pytest.mark.parametrize(
    "encoders, decoders, init_decoder, refused",
    [
        (("ste", "te"), ("ktd", "ktd"), False, True),
        (("ste", "cnn"), ("ktd", "ktd"), True, False),
        (("cnn", "cnn"), ("vanilla", "vanilla"), True, True),
        (("cnn", "cnn"), ("vanilla", "vanilla"), False, False),
    ],
)
def test_heads_matter_where_attention_is_taken_over(encoders, decoders, init_decoder, refused):
    earlier, now = load_config("debug:stage2", []), load_config("debug:stage2", [])
    for config, encoder, decoder in zip((earlier, now), encoders, decoders):
        config.model.encoder, config.model.decoder = encoder, decoder
    now.init_decoder, now.model.heads = init_decoder, 2 * earlier.model.heads
    with pytest.raises(UserError, match="heads") if refused else contextlib.nullcontext():
        _check_heads(now, earlier)
