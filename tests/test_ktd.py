import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoder_parity import assert_answers, original_params
from random_params import random_params

from maed_jax.body.skeleton import PARENTS, random_parents
from maed_jax.models.ktd import KinematicTopologyDecoder, ktd_ancestors, topological_order


def decoder(width=16, **kwargs):
    module = KinematicTopologyDecoder(width=width, **kwargs)
    feature = jax.random.normal(jax.random.key(0), (2, 3, 8))
    params = random_params(module.init, feature, train=False)
    return jax.jit(module.apply, static_argnames="train"), params, feature


def test_shapes():
    apply, params, feature = decoder()
    answer = apply(params, feature, train=False)
    assert answer.pose6d.shape == (2, 3, 24, 6)
    assert answer.shape.shape == (2, 3, 10)
    assert answer.camera.shape == (2, 3, 3)


def test_answers_are_the_originals(golden_dir):
    golden = np.load(golden_dir / "model_ste_parallel_ktd.npz")
    heads = {"shape": "decshape", "camera": "deccam"}

    def theirs(layer):
        return heads.get(layer, layer.replace("joint", "joint_regs."))

    module = KinematicTopologyDecoder()
    feature = jnp.asarray(golden["tap_feature"])
    params = original_params(module, feature.shape[-1], theirs)
    apply = jax.jit(functools.partial(module.apply, train=False))
    assert_answers(apply(params, feature), golden)


def readers(tree):
    """For each joint, the joints that move with its bias. [joints joints]"""
    apply, params, feature = decoder(width=4, ancestors=tree)

    def pose6d(biases):
        moved = {
            name: params["params"][name] | {"bias": biases[joint]}
            for joint, name in enumerate(f"joint{joint}" for joint in range(24))
        }
        return apply({"params": params["params"] | moved}, feature[0, 0], train=False).pose6d

    biases = jnp.stack([params["params"][f"joint{joint}"]["bias"] for joint in range(24)])
    jacobian = jax.jit(jax.jacobian(pose6d))(biases)  # [joints 6 moved 6]
    return (np.abs(jacobian).max(axis=(1, 3)) > 0).T


def path_to_root(joint, parents):
    """The joint itself and its ancestors, following one parent after the other."""
    while joint >= 0:
        yield joint
        joint = parents[joint]


@pytest.mark.parametrize(
    ("tree", "parents"),
    [
        (ktd_ancestors("ktd"), PARENTS),
        (ktd_ancestors("ktd_random", 0), random_parents(24, 0)),
        (ktd_ancestors("ktd_random", 7), random_parents(24, 7)),
    ],
    ids=["SMPL's tree", "random tree 0", "random tree 7"],
)
def test_a_joint_reads_exactly_its_ancestors(tree, parents):
    expected = np.zeros((24, 24), bool)
    for joint in range(24):
        expected[list(path_to_root(joint, parents)), joint] = True
    np.testing.assert_array_equal(readers(tree), expected)


def test_reversed_a_joint_reads_exactly_those_below_it():
    expected = np.zeros((24, 24), bool)
    for joint in range(24):
        expected[joint, list(path_to_root(joint, PARENTS))] = True
    np.testing.assert_array_equal(readers(ktd_ancestors("ktd_reverse")), expected)


@pytest.mark.parametrize("name", ["ktd", "ktd_random", "ktd_reverse"])
def test_inputs_come_after_what_they_read_themselves(name):
    tree = ktd_ancestors(name)
    assert sorted(topological_order(tree)) == list(range(24))
    for order in (topological_order(tree), *tree):
        for place, joint in enumerate(order):
            assert set(tree[joint]) <= set(order[:place])


@pytest.mark.parametrize("name", ["ktd", "ktd_random", "ktd_reverse"])
def test_training_starts_upright_at_rest(name):
    heads = KinematicTopologyDecoder(width=8, ancestors=ktd_ancestors(name))
    variables = heads.init(jax.random.key(0), jnp.ones(8), train=False)
    pose6d = heads.apply(variables, jnp.zeros(8), train=False).pose6d
    np.testing.assert_allclose(pose6d[0], [1, 0, 0, -1, 0, 0], atol=0.1)
    np.testing.assert_allclose(pose6d[1:], np.tile([1, 0, 0, 1, 0, 0], (23, 1)), atol=0.1)


def test_written_out_for_one_chain():
    apply, params, feature = decoder()
    p = params["params"]

    def linear(name, x):
        return x @ p[name]["kernel"] + p[name]["bias"]

    x = linear("fc2", linear("fc1", feature))
    chain, joint = [], 4  # left knee: pelvis, left hip, left knee
    while joint >= 0:
        chain.insert(0, joint)
        joint = PARENTS[joint]
    answers = []
    for joint in chain:
        answers.append(linear(f"joint{joint}", jnp.concatenate([x, *answers], axis=-1)))
    got = apply(params, feature, train=False).pose6d
    for joint, answer in zip(chain, answers):
        np.testing.assert_allclose(got[..., joint, :], answer, atol=1e-6)


def test_heads_start_near_zero():
    heads = KinematicTopologyDecoder(width=64, ancestors=((), (0,), (0, 1)))
    params = heads.init(jax.random.key(0), jnp.ones(8), train=False)["params"]
    for name in ("joint0", "joint2", "shape", "camera"):
        assert 0 < np.abs(params[name]["kernel"]).max() < 0.01


def test_any_tree_will_do():
    chain = tuple(tuple(range(joint)) for joint in range(24))
    apply, params, feature = decoder(width=64, ancestors=chain)
    assert params["params"]["joint23"]["kernel"].shape == (64 + 23 * 6, 6)
    assert apply(params, feature, train=False).pose6d.shape == (2, 3, 24, 6)


def test_dropout_only_in_training():
    apply, params, feature = decoder(dropout=0.5)
    rngs = [{"dropout": jax.random.key(i)} for i in range(2)]
    a, b = (apply(params, feature, train=True, rngs=r).camera for r in rngs)
    assert np.abs(a - b).max() > 0
    still = [apply(params, feature, train=False).camera for _ in range(2)]
    np.testing.assert_array_equal(*still)
