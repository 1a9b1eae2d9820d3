from collections.abc import Callable

import flax
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from maed_jax.models.parameters import BatchNorm, Dense, Module

LAYERS = {
    Dense: (nn.Dense, {"features": 5}),
    BatchNorm: (nn.BatchNorm, {"use_running_average": False}),
}


@pytest.mark.parametrize("ours", LAYERS)
def test_layers_are_flax_layers(ours):
    theirs, settings = LAYERS[ours]
    x, key = jax.random.normal(jax.random.key(0), (4, 3)), jax.random.key(1)

    def made_and_used(layer):
        variables = layer(**settings).init(key, x)
        return variables, layer(**settings).apply(variables, x, mutable=["batch_stats"])

    same = jax.tree.map(lambda a, b: bool((a == b).all()), *map(made_and_used, (ours, theirs)))
    assert jax.tree.all(same)


class Scale(Module):
    start: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", self.start, x.shape[-1:])


def test_the_initialiser_is_not_traced_again():
    def never(key, shape):
        raise AssertionError

    params = Scale().init(jax.random.key(0), jnp.ones(3))
    assert Scale(never).apply(params, jnp.full(3, 2.0)).tolist() == [2, 2, 2]


def test_another_shape_is_refused_as_by_flax():
    with pytest.raises(flax.errors.ScopeParamShapeError, match="scale"):
        Scale().apply({"params": {"scale": jnp.ones(4)}}, jnp.ones(3))


def test_a_parameter_that_is_missing_is_named():
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="scale"):
        Scale().apply({"params": {"other": jnp.ones(3)}}, jnp.ones(3))
