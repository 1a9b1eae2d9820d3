"""Compares the whole model with the original at every stage; parity_rules.py makes the weights."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import parity_rules as rules
import pytest
from flax import linen as nn
from random_params import random_params

from maed_jax.body.files import load_body
from maed_jax.body.smpl import h36m_joints, keypoint_body, pose_body
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.models import cnn, resnet
from maed_jax.models.decoders import make_decoder
from maed_jax.models.encoder import Block
from maed_jax.models.encoders import make_encoder
from maed_jax.models.maed import MAED, reconstruct, variable_shapes
from maed_jax.weights.layouts import torch_entry, torch_name
from maed_jax.weights.original import convert_original, from_torch, with_means

# In the sixteen ReLU bottlenecks, float32 rounding decides some signs: the original's input
# gradient is 1.6 % off the float64 one, ours 1.7 %, and the two differ by 1.7 %. This is to be
# expected: rounding errors grow to 4e-5 of the values at the root's end and flip about a third as
# large a fraction of the signs there, 4e-6 on average over the 49 ReLUs (float32 against float64).
# A unit that flips changes the gradient by its whole contribution, so the gradient is off by about
# sqrt(49 * 4e-6) = 1.5 %. Everything after the root must agree within 1e-3.
ROOT_NORM, ROOT_SLICE = 1e-2, 4e-2

VARIANTS = (
    *(("ste", mode, "ktd") for mode in ("parallel", "vanilla", "series", "coupling", "temporal")),
    ("ste", "parallel", "iterative"),
    ("cnn", "vanilla", "ktd"),
    ("cnn", "vanilla", "iterative"),
)


@functools.cache  # variants share most of theirs
def weight(name, shape):
    return rules.weight(name, shape)


def state_dict(golden_dir, variant):
    shapes = json.loads((golden_dir / "state_dict_shapes.json").read_text())[variant]
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items()}


def body_mapping():
    return rules.body_model() | {
        "J_regressor_extra": rules.extra_regressor(),
        "J_regressor_h36m": rules.h36m_regressor(),
        "mean_params": rules.mean_params(),
    }


@pytest.fixture(scope="module")
def body():
    return load_body(body_mapping())


def clip(name, b, t):
    return jnp.asarray(rules.clip(name, b, t).transpose(0, 1, 3, 4, 2))


def assert_close(ours, theirs, tolerance=1e-4, what=""):
    """Asserts that values agree within `tolerance` of the largest value."""
    error = np.abs(np.asarray(ours, np.float64) - theirs).max() / np.abs(theirs).max()
    assert error < tolerance, f"{what}: {error:.1e} of the largest value"


# Layers are compiled separately, so that equal layers and other variants share their programs. The
# gradients below use the whole model.


@functools.partial(jax.jit, static_argnums=(0, 1))
def compiled(layer, settings, variables, x):
    return layer.apply(variables, x, *settings)


def compile_separately(call, args, kwargs, context):
    """Calls a residual layer of an encoder as a separate program, shared by equal layers."""
    layer = context.module
    if layer.path and isinstance(layer, (resnet.Bottleneck, cnn.Bottleneck, Block)):
        x, *settings = args
        return compiled(layer.clone(parent=None, name=None), tuple(settings), layer.variables, x)
    return call(*args, **kwargs)


def encode(model, variables, clip):
    def wanted(module, method):
        return method == "__call__" and type(module).__name__ in ("ResNetRoot", "Block")

    with nn.intercept_methods(compile_separately):
        feature, state = make_encoder(model).apply(
            variables, clip, train=False, capture_intermediates=wanted
        )
    return feature, state.get("intermediates")


@functools.partial(jax.jit, static_argnames="model")
def decode(model, variables, feature, body):
    regression = make_decoder(model).apply(variables, feature, body, train=False)
    prediction = reconstruct(regression, feature, body, vertices=True)
    return prediction, h36m_joints(body, pose_body(body, prediction.rotmat, prediction.shape))


@pytest.mark.parametrize(("encoder", "mode", "decoder"), VARIANTS)
def test_every_tap_is_the_originals(encoder, mode, decoder, golden_dir, body):
    variant = f"{encoder}_{mode}_{decoder}"
    golden = np.load(golden_dir / f"model_{variant}.npz")
    # "module." is from data-parallel training.
    state = {f"module.{k}": v for k, v in state_dict(golden_dir, variant).items()}
    estimator = from_torch(state, body=body, encoder=encoder, mode=mode, decoder=decoder)
    assert isinstance(estimator, Estimator)

    b, t = (1, 2) if encoder == "cnn" else (2, 4)
    parts = {c: tree["encoder"] for c, tree in estimator.variables.items() if "encoder" in tree}
    feature, taps = encode(estimator.model.clone(decoder="ktd"), parts, clip(variant, b, t))
    if encoder == "ste":
        root = np.asarray(taps["root"]["__call__"][0]).transpose(0, 3, 1, 2)[:, ::64]
        assert_close(root, golden["tap_backbone"], what="root")
        for i in range(6):
            tokens = taps[f"block{i}"]["__call__"][0].reshape(8, 197, 768)[:, ::28, ::16]
            assert_close(tokens, golden[f"tap_block{i}"], what=f"block {i}")
    assert_close(feature.reshape(b * t, -1), golden["tap_feature"], what="feature")

    parts = {"params": estimator.variables["params"]["decoder"]}
    prediction, h36m = decode(estimator.model, parts, feature, body)
    assert_close(prediction.camera, golden["theta"][..., :3], what="camera")
    assert_close(prediction.pose, golden["theta"][..., 3:75], what="pose")
    assert_close(prediction.shape, golden["theta"][..., 75:], what="shape")
    assert_close(prediction.rotmat, golden["rotmat"], what="rotmat")
    assert_close(prediction.keypoints_3d, golden["kp_3d"], what="keypoints_3d")
    assert_close(prediction.keypoints_2d, golden["kp_2d"], 2e-3, what="keypoints_2d")
    assert_close(prediction.verts[:, :, ::53], golden["verts"], what="verts")
    assert_close(h36m, golden["h36m_kp_3d"], what="h36m")


def test_gradients_are_the_originals(golden_dir, body):
    golden = np.load(golden_dir / "gradients_ste_parallel_ktd.npz")
    model = MAED()
    variables, _ = convert_original(state_dict(golden_dir, "ste_parallel_ktd"), model)

    def target(name, value):
        return (value - rules.normal(f"grad/target/{name}", value.shape)) ** 2

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def scalar(params, clip):
        p = model.apply({"params": params}, clip, body, vertices=True)
        named = {"kp_3d": p.keypoints_3d, "rotmat": p.rotmat, "verts": p.verts}
        return sum(target(k, v).mean() for k, v in named.items()) + (p.shape**2).mean()

    loss, (grads, input_grad) = scalar(variables["params"], clip("grad", 1, 3))
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5)
    expected = golden["input_grad"].transpose(0, 1, 3, 4, 2)
    got = np.asarray(input_grad)[:, :, ::16, ::16]
    assert np.linalg.norm(got - expected) < ROOT_SLICE * np.linalg.norm(expected)

    norms = dict(zip(golden["names"].tolist(), golden["norms"]))
    ours = torch_gradients(grads)
    assert set(ours) == set(norms)
    for name, grad in ours.items():
        root = ".backbone." in name
        error = abs(np.linalg.norm(grad) - norms[name])
        assert error < (ROOT_NORM if root else 1e-3) * norms[name] + 1e-7, name
        if f"grad/{name}" in golden:
            expected = golden[f"grad/{name}"]
            got = grad.reshape(-1)[:: max(1, grad.size // 64)][:64]
            error = np.linalg.norm(got - expected)
            assert error < (ROOT_SLICE if root else 1e-3) * np.linalg.norm(expected) + 1e-7, name


def torch_gradients(grads):
    """Returns our gradients under the original's names and in its layouts."""
    out = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        path = tuple(key.key for key in path)
        leaf = np.asarray(leaf)
        if path[-1] == "kernel":
            leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
        out[torch_name(path)] = leaf
    return out


def zeros(model):
    """Returns a state dict of the original with dummy numbers."""
    shapes = {p[1:]: torch_entry(p[1:], s).shape for p, s in variable_shapes(model).items()}
    return {torch_name(p): np.broadcast_to(np.float32(0), s) for p, s in shapes.items()}


def test_wrong_entries_are_all_named_in_one_error():
    model = MAED()
    state = zeros(model)
    del state["encoder.norm.bias"]
    state["decoder.fc1.weight"] = np.zeros((2, 3), np.float32)
    state["head.weight"] = np.zeros(1)
    state["decoder.smpl.v_template"] = np.zeros(1)  # not a weight: ignored
    with pytest.raises(UserError) as error:
        convert_original(state, model)
    message = str(error.value)
    assert "encoder.norm.bias is missing" in message
    assert "decoder.fc1.weight has shape (2, 3) instead of (1024, 768)" in message
    assert "head.weight is not part of the model" in message
    assert "smpl" not in message and "decoder.fc2.bias" not in message


def test_a_message_stays_readable():
    state = {name: np.zeros(1, np.float32) for name in zeros(MAED())}
    with pytest.raises(UserError, match=r"; and \d\d\d more$") as error:
        convert_original(state, MAED())
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(("encoder", "mode", "decoder"), VARIANTS)
def test_weights_of_another_variant_are_recognised(encoder, mode, decoder, golden_dir):
    shapes = json.loads((golden_dir / "state_dict_shapes.json").read_text())
    state = shapes[f"{encoder}_{mode}_{decoder}"]  # names suffice
    others = {"encoder": "cnn" if encoder == "ste" else "ste"}
    others |= {"decoder": "ktd" if decoder == "iterative" else "iterative"}
    if encoder == "ste":
        others |= {"mode": "vanilla" if mode == "parallel" else "parallel"}
    right = {"encoder": encoder, "mode": mode, "decoder": decoder}
    for what, value in others.items():
        with pytest.raises(UserError) as error:
            from_torch(state, body="mannequin", **(right | {what: value}))
        asked, found = str(error.value).split(": they look like ")
        assert f"{what} {value!r}" in asked
        assert f"encoder {encoder!r}" in found and f"decoder {decoder!r}" in found
        assert encoder == "cnn" or repr(mode) in found


def test_a_checkpoints_own_mean_parameters_are_where_it_starts(body):
    mean = np.arange(144, dtype=np.float32)[None]
    changed = with_means(body, {"module.decoder.init_pose": mean})
    np.testing.assert_array_equal(changed.mean_pose6d, mean[0])
    np.testing.assert_array_equal(changed.mean_shape, body.mean_shape)
    with pytest.raises(UserError, match="init_cam has 4 numbers instead of 3"):
        with_means(body, {"decoder.init_cam": np.zeros((1, 4))})


def test_a_decoder_says_that_its_mean_parameters_are_missing():
    without = load_body({k: v for k, v in body_mapping().items() if k != "mean_params"})
    state = zeros(MAED(decoder="iterative"))
    with pytest.raises(UserError, match="'iterative' .*mean parameters"):
        from_torch(state, body=without, decoder="iterative")


@pytest.mark.parametrize("wrong", [{"encoder": "rnn"}, {"mode": "both"}, {"decoder": "tree"}])
def test_unknown_variants_are_named(wrong):
    ((what, name),) = wrong.items()
    with pytest.raises(UserError, match=f"no {what} '{name}'; choose from"):
        from_torch({}, body=None, **wrong)


def test_a_keypoint_body_is_enough_without_vertices(body):
    small = keypoint_body(body)
    model = MAED(image_size=32, stage_sizes=(1,), width=8, dim=16, depth=1, heads=2)
    x = jax.random.normal(jax.random.key(0), (1, 2, 32, 32, 3))
    params = random_params(model.init, x, None, method="regress")
    apply = jax.jit(model.apply, static_argnames="vertices")
    whole, part = apply(params, x, body, vertices=True), apply(params, x, small)
    assert part.verts is None
    np.testing.assert_allclose(part.keypoints_3d, whole.keypoints_3d, atol=1e-5)
