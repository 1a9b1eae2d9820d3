import jax
import jax.numpy as jnp
import numpy as np
from decoder_parity import assert_answers, original_params
from random_params import random_params

from maed_jax.body.skeleton import ANCESTORS, PARENTS
from maed_jax.models.ktd import KinematicTopologyDecoder


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
    assert_answers(module.apply(params, feature, train=False), golden)


def test_a_joint_reads_exactly_its_ancestors():
    apply, params, feature = decoder()
    for moved in (0, 3, 9, 16):

        def pose6d(bias, moved=moved):
            joint = params["params"][f"joint{moved}"] | {"bias": bias}
            changed = {"params": params["params"] | {f"joint{moved}": joint}}
            return apply(changed, feature, train=False).pose6d

        jacobian = jax.jacobian(pose6d)(params["params"][f"joint{moved}"]["bias"])
        reads = np.abs(jacobian).max(axis=(0, 1, 3, 4)) > 0
        expected = [joint == moved or moved in ANCESTORS[joint] for joint in range(24)]
        np.testing.assert_array_equal(reads, expected)


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
