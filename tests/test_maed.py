import functools

import jax
import jax.numpy as jnp
import numpy as np
import prove_numerics
import pytest
from random_params import random_params

from maed_jax.body import smpl
from maed_jax.body.mannequin import mannequin
from maed_jax.errors import UserError
from maed_jax.models.maed import MAED, reconstruct
from maed_jax.models.regression import Regression
from maed_jax.training.losses import label_counts, losses

SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1, 1), width=8, dim=16, depth=2, heads=2,
    feature_dim=12, decoder_width=16,
)  # fmt: skip
WEIGHTS = {"keypoints_2d": 300, "keypoints_3d": 600, "pose": 60, "shape": 0.06, "norm": 1}


@pytest.fixture(scope="module")
def body():
    return smpl.keypoint_body(mannequin())


@pytest.fixture(scope="module")
def model_and_params():
    model = MAED(**SMALL)
    return model, random_params(model.init, clip(), None, method="regress")["params"]


def clip(b=2, t=3):
    return jax.random.normal(jax.random.key(0), (b, t, 32, 32, 3))


def labels(b=2, t=3, pose=0.0, valid=1.0):
    return {
        "keypoints_2d": jnp.zeros((b, t, 49, 3)).at[..., 2].set(valid),
        "keypoints_3d": jnp.zeros((b, t, 49, 4)).at[..., 3].set(valid),
        "pose": jnp.full(
            (b, t, 72), pose, jnp.float32
        ),  # same dtypes, so that all share one compilation
        "shape": jnp.zeros((b, t, 10)),
        "has_smpl": jnp.full((b, t), valid),
        "has_3d": jnp.full((b,), valid),
    }


def loss(prediction, labels):
    return losses(prediction, labels, WEIGHTS, label_counts({"clips": labels}, parts=1)["clips"])[0]


def test_shapes_of_a_prediction(model_and_params):
    model, params = model_and_params
    whole = mannequin()
    p = jax.jit(functools.partial(model.apply, vertices=True))({"params": params}, clip(), whole)
    shapes = {name: value.shape[2:] for name, value in vars(p).items()}
    assert shapes == {
        "camera": (3,), "pose": (72,), "shape": (10,), "rotmat": (24, 3, 3),
        "keypoints_3d": (49, 3), "keypoints_2d": (49, 2), "feature": (12,),
        "verts": whole.template.shape,
    }  # fmt: skip
    assert all(value.shape[:2] == (2, 3) for value in vars(p).values())


def test_images_and_clips_share_the_parameters(model_and_params, body):
    model, params = model_and_params
    shapes = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, None, method="regress")["params"], clip(t=1)
    )
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, shapes)
    answer = jax.jit(model.apply)({"params": params}, clip(t=1), body)
    assert answer.camera.shape == (2, 1, 3)


LABELS = {
    "zero pose": labels(pose=0.0),
    "angle pi": labels(pose=np.pi / np.sqrt(3)),
    "all masked": labels(valid=0.0),
    "masked and not finite": labels(valid=0.0)
    | {"pose": jnp.full((2, 3, 72), jnp.nan, jnp.float32)},
}


@pytest.fixture(scope="module")
def value_and_gradient(model_and_params, body):
    model, _ = model_and_params

    def total(params, labels):
        rngs = {"dropout": jax.random.key(1)}
        prediction = model.apply({"params": params}, clip(), body, train=True, rngs=rngs)
        return loss(prediction, labels)

    return jax.jit(jax.value_and_grad(total))


@pytest.mark.parametrize("which", LABELS)
def test_gradients_through_everything_are_finite(which, value_and_gradient, model_and_params):
    value, gradient = value_and_gradient(model_and_params[1], LABELS[which])
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("angle", [0.0, np.pi])
@pytest.mark.parametrize("degenerate", [False, True])
def test_gradients_are_finite_at_the_predicted_pose_too(angle, degenerate, body):
    """Predictions at rest, rotated by 180 degrees, or all zeros, which is not a rotation."""
    cos = np.cos(angle)
    pose6d = jnp.tile(jnp.array([1.0, 0, 0, cos, 0, 0]) * (not degenerate), (2, 3, 24, 1))
    regression = Regression(pose6d, jnp.zeros((2, 3, 10)), jnp.zeros((2, 3, 3)))

    def total(regression):
        feature = jnp.zeros((2, 3, 4))
        prediction = reconstruct(regression, feature, body, vertices=False)
        return loss(prediction, labels())

    gradient = jax.jit(jax.grad(total))(regression)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_no_answer_of_a_decoder_is_fatal():
    """200 people, most of them impossible; scripts/prove_numerics.py tests a million."""
    value, gradient = prove_numerics.make_judge()(*prove_numerics.anyone(seed=0, count=200))
    for found in (value, *gradient):
        assert np.isfinite(found).all()
        assert np.ptp(found) > 0


def test_an_unknown_decoder_is_named():
    with pytest.raises(UserError, match="no decoder 'tree'"):
        jax.eval_shape(
            lambda x: MAED(**SMALL, decoder="tree").init(
                jax.random.key(0), x, None, method="regress"
            ),
            clip(),
        )


@pytest.mark.parametrize("encoder", ["ste", "cnn"])
def test_bfloat16_and_remat_change_the_encoders_cost_alone(encoder):
    """Parameters stay the same; features and gradients nearly, and all are float32."""
    settings = SMALL | {"image_size": 16, "stage_sizes": (1,), "depth": 1, "dropout": 0.0}
    settings["encoder"] = encoder
    x = clip()[:, :, :16, :16]
    variables = random_params(MAED(**settings).init, x, None, method="regress")

    def run(**more):
        model = MAED(**settings, **more)

        def loss(params):
            (feature, _), _ = model.apply(
                variables | {"params": params},
                *(x, None),
                train=True,
                method="regress",
                mutable=["batch_stats"],
            )
            return (feature**2).mean(), feature

        (_, feature), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            variables["params"]
        )
        assert {a.dtype for a in jax.tree.leaves((feature, gradient))} == {jnp.dtype("float32")}
        return feature, jnp.concatenate([g.ravel() for g in jax.tree.leaves(gradient["encoder"])])

    exact, again, coarse = run(), run(remat=True), run(dtype="bfloat16")
    for a, b in zip(exact, again):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(a).max())
    difference = np.abs(exact[0] - coarse[0]).max() / np.abs(exact[0]).max()
    assert 1e-4 < difference < 0.1  # so it did compute in bfloat16
    cosine = jnp.vdot(exact[1], coarse[1]) / jnp.linalg.norm(exact[1]) / jnp.linalg.norm(coarse[1])
    assert cosine > 0.98


def test_the_other_encoders_take_the_same_settings(body):
    model = MAED(**SMALL, encoder="te", dtype="bfloat16", remat=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), clip(), body)

    def loss(variables):
        return model.apply(variables, clip(), body).keypoints_3d.sum()

    gradient = jax.eval_shape(jax.grad(loss), shapes)
    assert {a.dtype for a in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


def test_an_unknown_dtype_is_named():
    with pytest.raises(UserError, match="'float32' or 'bfloat16', not 'half'"):
        jax.eval_shape(MAED(**SMALL, dtype="half").init, jax.random.key(0), clip(), None)
