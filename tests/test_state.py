"""The training state."""

import chex
import jax.numpy as jnp
import optax

from maed_jax.runs.state import create_state


def test_variables_are_the_average_where_there_is_one_and_the_statistics():
    variables = {"params": {"w": jnp.ones(2)}, "batch_stats": {"mean": jnp.zeros(2)}}
    plain, averaged = (create_state(variables, optax.identity(), ema=ema) for ema in (False, True))
    assert plain.variables is not variables and plain.ema == {}
    chex.assert_trees_all_equal(plain.variables, variables)
    moved = averaged.replace(params={"w": jnp.zeros(2)})
    chex.assert_trees_all_equal(moved.variables, variables)
    other = {"params": {"w": jnp.full(2, 3.0)}, "batch_stats": {"mean": jnp.ones(2)}}
    chex.assert_trees_all_equal(moved.starting_from(other).variables, other)
    bare = create_state({"params": variables["params"]}, optax.identity())
    assert set(bare.variables) == {"params"}
