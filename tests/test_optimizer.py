"""The optimiser, compared with a reference of PyTorch's Adam, and the schedules."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.runs.config import defaults
from maed_jax.runs.state import create_state
from maed_jax.training.optimizer import make_optimizer, make_schedule


def options(**changes):
    c = defaults().optimizer
    c.update(changes)
    return c


def test_adam_with_l2_in_the_gradient():
    rng = np.random.default_rng(0)
    w = rng.normal(size=5)
    m = v = np.zeros(5)
    optimizer = make_optimizer(options(l2=0.1))
    state = create_state({"params": {"w": jnp.asarray(w, jnp.float32)}}, optimizer)
    params, opt_state = state.params, state.opt_state
    for t in range(1, 6):
        g = rng.normal(size=5)
        updates, opt_state = optimizer.update({"w": jnp.asarray(g, jnp.float32)}, opt_state, params)
        params = {"w": params["w"] - 0.01 * updates["w"]}
        g = g + 0.1 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(params["w"], w, rtol=1e-5)


def test_clipping_comes_before_l2():
    optimizer = make_optimizer(options(l2=0.1, clip_norm=1.0))
    unclipped = make_optimizer(options(l2=0.1))
    params = {"w": jnp.array([5.0, -20.0])}
    big, unit = {"w": jnp.array([30.0, 40.0])}, {"w": jnp.array([0.6, 0.8])}
    _, clipped = optimizer.update(big, optimizer.init(params), params)
    _, expected = unclipped.update(unit, unclipped.init(params), params)
    np.testing.assert_allclose(clipped[2].mu["w"], expected[2].mu["w"], rtol=1e-6)


def test_muon_takes_all_directions_of_a_hidden_matrix_alike():
    def layers(kernel, bias):
        names = ("fc1", "joint3", "pose", "conv1")
        layers = {name: {"kernel": kernel, "bias": bias} for name in names}
        layers["conv1"]["kernel"] = kernel[None, None]
        return {"decoder": layers, "queries": kernel}

    params = layers(jnp.zeros((4, 4)), jnp.zeros(4))
    kernel, bias = jnp.diag(jnp.array([5.0, 0.5, 0.2, 0.1])), jnp.array([1.0, -2, 3, 0.1])
    gradient = layers(kernel, bias)
    muon = make_optimizer(options(name="muon", l2=0.0))
    adam = make_optimizer(options(l2=0.0))
    updates, _ = muon.update(gradient, muon.init(params), params)
    likewise, _ = adam.update(gradient, adam.init(params), params)
    hidden = updates["decoder"]["fc1"].pop("kernel")
    likewise["decoder"]["fc1"].pop("kernel")
    values = np.linalg.svd(hidden)[1]
    assert values.max() / values.min() < 3  # 50 in the gradient
    assert jnp.all(jnp.diag(hidden) > 0)  # with the gradient: the step subtracts it
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(hidden**2)), 0.2, rtol=0.5)
    # Adam updates all else (with Nesterov momentum, hence slightly larger steps).
    further = updates["decoder"]["fc1"]["bias"][0]
    chex.assert_trees_all_close(
        updates, jax.tree.map(lambda x: further * x, likewise), rtol=1e-4, atol=1e-6
    )


def test_an_unknown_optimiser_is_named():
    with pytest.raises(UserError, match="'adam' or 'muon', not 'adamw'"):
        make_optimizer(options(name="adamw"))


def test_step_schedule():
    rate = make_schedule(options(learning_rate=1e-4), 100)
    rates = [float(rate(step)) for step in (0, 59, 60, 89, 90, 99)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6], rtol=1e-5)


def test_warmup_and_cosine():
    rate = make_schedule(options(schedule="cosine", warmup_steps=10, learning_rate=2.0), 110)
    np.testing.assert_allclose(
        [float(rate(s)) for s in (0, 4, 9, 10, 60, 110)], [0.2, 1, 2, 2, 1, 0], atol=1e-6
    )


@pytest.mark.parametrize(
    "changes", [{"schedule": "linear"}, {"warmup_steps": 100}, {"decay_at": (60.0, 90.0)}]
)
def test_unfit_schedules(changes):
    with pytest.raises(UserError, match="config.optimizer"):
        make_schedule(options(**changes), 100)
