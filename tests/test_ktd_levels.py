import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.skeleton import LEVELS
from maed_jax.models.decoders import joints_read
from maed_jax.models.ktd import KinematicTopologyDecoder
from maed_jax.models.ktd_levels import joint_levels, pose_by_level

TREES = ("ktd", "ktd_random", "ktd_reverse")


def test_levels_of_smpl_are_its_depths():
    assert joint_levels(joints_read("ktd")) == LEVELS
    assert len(joint_levels(joints_read("ktd_reverse"))) == 9


@pytest.mark.parametrize("name", TREES)
def test_a_level_reads_earlier_ones_only(name):
    tree = joints_read(name)
    levels = joint_levels(tree)
    assert sorted(itertools.chain(*levels)) == list(range(24))
    for depth, level in enumerate(levels):
        earlier = set(itertools.chain(*levels[:depth]))
        assert all(set(tree[joint]) <= earlier for joint in level)


@pytest.mark.parametrize("name", TREES)
def test_by_level_is_the_unrolled_tree(name):
    """Value, and gradients for the feature and all parameters."""
    tree = joints_read(name)
    module = KinematicTopologyDecoder(width=16, ancestors=tree)
    feature = jax.random.normal(jax.random.key(0), (2, 3, 8))
    variables = random_params(module.init, feature, train=False)
    weigh = jax.random.normal(jax.random.key(1), (2, 3, 24, 6))

    def unrolled(params, feature):
        pose6d = module.apply({"params": params}, feature, train=False).pose6d
        return (pose6d * weigh).sum(), pose6d

    def by_level(params, feature):
        x = feature
        for name in ("fc1", "fc2"):
            x = x @ params[name]["kernel"] + params[name]["bias"]
        pose6d = pose_by_level(params, x, tree)
        return (pose6d * weigh).sum(), pose6d

    results = []
    for form in (unrolled, by_level):
        gradient = jax.jit(jax.grad(form, argnums=(0, 1), has_aux=True))
        results.append(gradient(variables["params"], feature))
    for expected, got in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-6 * max(1, np.abs(expected).max()))
    assert jnp.abs(results[0][0][0]["joint20"]["kernel"]).max() > 0.1
