import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.errors import UserError
from maed_jax.models.vanilla_decoder import VanillaDecoder


def decoder(**kwargs):
    module = VanillaDecoder(**dict(width=8, heads=2, layers=2) | kwargs)
    feature = jax.random.normal(jax.random.key(0), (2, 3, 5))
    params = random_params(module.init, feature, train=False)
    return jax.jit(module.apply, static_argnames="train"), params, feature


def changed(params, name, value):
    return {"params": params["params"] | {name: value}}


def test_the_paper_has_six_layers_and_37_queries():
    shapes = jax.eval_shape(
        lambda key: VanillaDecoder().init(key, jnp.zeros((1, 768)), train=False), jax.random.key(0)
    )["params"]
    assert sum(name.startswith("layer") for name in shapes) == 6
    assert shapes["queries"].shape == (37, 768)
    assert shapes["layer0"]["fc1"]["kernel"].shape == (768, 4 * 768)


def test_written_out_for_one_layer():
    apply, params, feature = decoder(layers=1, heads=2)
    p, layer = params["params"], params["params"]["layer0"]
    x = np.asarray(p["queries"], np.float64)

    def linear(name, x):
        return x @ np.asarray(layer[name]["kernel"], np.float64) + layer[name]["bias"]

    def norm(name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return unit * layer[name]["scale"] + layer[name]["bias"]

    q, k, v = np.split(linear("qkv", x), 3, axis=-1)
    y = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = np.exp(q[:, head] @ k[:, head].T / 2)
        y.append(weights / weights.sum(axis=-1, keepdims=True) @ v[:, head])
    x = norm("norm1", x + linear("proj", np.concatenate(y, axis=-1)))
    x = norm("norm2", x + linear("read_proj", linear("read_value", np.asarray(feature[0, 0]))))
    x = norm("norm3", x + linear("fc2", np.maximum(linear("fc1", x), 0)))
    got = apply(params, feature, train=False)
    for ours, name, tokens in (
        (got.pose6d, "pose", x[:24]),
        (got.shape[..., None], "shape", x[24:34]),
        (got.camera[..., None], "camera", x[34:]),
    ):
        expected = tokens @ np.asarray(p[name]["kernel"], np.float64) + p[name]["bias"]
        np.testing.assert_allclose(ours[0, 0], expected, atol=1e-5)


def test_every_query_reads_every_other_and_the_frame():
    apply, params, feature = decoder()
    before = apply(params, feature, train=False)
    for query in (0, 23, 24, 36):
        moved = jnp.asarray(params["params"]["queries"]).at[query].add(1.0)
        after = apply(changed(params, "queries", moved), feature, train=False)
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after)):
            assert (np.abs(a - b) > 0).all()
    other = apply(params, feature.at[0, 0].add(1.0), train=False)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(other)):
        moved = np.abs(a - b).reshape(6, -1)
        assert (moved[0] > 0).all()
        np.testing.assert_array_equal(moved[1:], 0)  # frames are decoded independently


def test_zeros_alone_could_not_tell_the_joints_apart():
    apply, params, feature = decoder()
    head = params["params"]["pose"]
    uniform = changed(params, "pose", head | {"bias": jnp.zeros_like(head["bias"])})
    pose6d = apply(uniform, feature, train=False).pose6d
    assert np.abs(pose6d - pose6d[..., :1, :]).max() > 0.01
    pose6d = apply(changed(uniform, "queries", jnp.zeros((37, 8))), feature, train=False).pose6d
    np.testing.assert_allclose(pose6d - pose6d[..., :1, :], 0, atol=1e-5)


def test_training_starts_upright_at_rest():
    module = VanillaDecoder(width=8, heads=2, layers=1)
    init = jax.jit(functools.partial(module.init, train=False))
    variables = init(jax.random.key(0), jnp.ones(5))
    got = module.apply(variables, jnp.ones(5), train=False)
    np.testing.assert_allclose(got.pose6d[0], [1, 0, 0, -1, 0, 0], atol=0.1)
    np.testing.assert_allclose(got.pose6d[1:], np.tile([1, 0, 0, 1, 0, 0], (23, 1)), atol=0.1)
    np.testing.assert_allclose(got.shape, 0, atol=0.1)
    np.testing.assert_allclose(got.camera, [0.9, 0, 0], atol=0.1)


def test_every_parameter_has_a_gradient():
    _, params, feature = decoder()
    module = VanillaDecoder(width=8, heads=2, layers=2)

    def total(params):
        answer = module.apply(params, feature, train=False)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(answer))

    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(total))(params)):
        assert np.abs(leaf).max() > 1e-4, path


def test_heads_must_divide_the_width():
    with pytest.raises(UserError, match="width of 8 cannot be split into 3 heads"):
        decoder(heads=3)


def test_dropout_only_in_training():
    apply, params, feature = decoder()
    rngs = [{"dropout": jax.random.key(i)} for i in range(2)]
    a, b = (apply(params, feature, train=True, rngs=r).camera for r in rngs)
    assert np.abs(a - b).max() > 0
    still = [apply(params, feature, train=False).camera for _ in range(2)]
    np.testing.assert_array_equal(*still)


def test_all_that_a_layer_adds_is_dropped_out():
    """With everything dropped, only the queries remain, identical in all frames."""
    apply, params, feature = decoder(dropout=1.0)
    answer = apply(params, feature, train=True, rngs={"dropout": jax.random.key(0)})
    for leaf in jax.tree.leaves(answer):
        np.testing.assert_allclose(leaf, np.broadcast_to(leaf[:1, :1], leaf.shape), atol=1e-5)
