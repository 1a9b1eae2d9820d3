"""What is compiled for a run."""

import jax
import pytest
import tiny
from test_step import equal

from maed_jax.runs.config import load_config
from maed_jax.training.program import make_program, step_options
from maed_jax.training.sharding import make_mesh


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(
        "maed_jax.models.maed.MAED",
        lambda clip_length, **_: tiny.TinyModel(tiny.SIZE, clip_length),
    )
    size = f"--config.model.image_size={tiny.SIZE}"
    return lambda *more: load_config("debug:stage2", [size, *more])


def test_a_step_keeps_the_layout_of_the_state(config):
    """Parameters are split over two devices before the first step and after it."""
    program = make_program(config("--config.ema=0.9"), None, make_mesh(1, 2))
    state = program.init(jax.random.key(3))
    assert equal(state.params, state.ema)
    state = program.init(jax.random.key(3))  # without NumPy's views, which prevent donation
    layout = jax.tree.map(lambda a: (a.shape, a.dtype, a.sharding), program.state)
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(program.state))
    for _ in range(2):
        assert jax.tree.map(lambda a: (a.shape, a.dtype, a.sharding), state) == layout
        old = state
        state, metrics = program.step(state, tiny.batch(1), jax.random.key(0))
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
        assert metrics["loss"].sharding.is_fully_replicated
    assert int(state.step) == 2


def test_settings_reach_the_step(config):
    rates = {}
    for warmup in (0, 4):
        c = config("--config.steps=9", f"--config.optimizer.warmup_steps={warmup}")
        program = make_program(c, None, make_mesh(1, 1))
        _, metrics = program.step(program.init(jax.random.key(3)), tiny.batch(1), jax.random.key(0))
        rates[warmup] = float(metrics["learning_rate"])
    assert rates[4] == pytest.approx(rates[0] / 4)


def test_options_are_for_the_frames_of_one_device_and_part(config, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "maed_jax.training.program.for_training", lambda *numbers: calls.append(numbers)
    )
    c = config("--config.accumulate=2")
    step_options(c, 24, make_mesh(1, 2))
    assert calls == [(c.model.dim, 6)]
