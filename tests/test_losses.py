import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.models.maed import Prediction
from maed_jax.training import losses as L

TERMS = {
    "kp_2d": "keypoints_2d",
    "kp_3d": "keypoints_3d",
    "pose": "pose",
    "shape": "shape",
    "norm": "norm",
}


@pytest.fixture(scope="module")
def golden(golden_dir):
    return dict(np.load(golden_dir / "losses.npz"))


def labels_of(golden, kind):
    """Labels in our layout: first the original's clips with 2D labels, then those with 3D."""
    if kind == "image":
        gt = {k: golden[f"image/gt/{k}"][:, None] for k in ("kp_2d", "kp_3d", "theta", "w_smpl")}
        # The original ignores w_smpl for images; we do not, so here it is true everywhere.
        gt["w_smpl"] = np.ones_like(gt["w_smpl"])
        has_3d = np.ones(len(gt["kp_2d"]))
    else:
        two = golden["video/gt_2d/kp_2d"]
        three = {k: golden[f"video/gt_3d/{k}"] for k in ("kp_2d", "kp_3d", "theta", "w_smpl")}
        none = {k: np.full((len(two), *v.shape[1:]), np.nan) for k, v in three.items()}
        none |= {"kp_2d": two, "w_smpl": np.zeros(two.shape[:2])}
        none["kp_3d"][..., 3] = 0
        gt = {k: np.concatenate([none[k], three[k]]) for k in three}
        has_3d = np.concatenate([np.zeros(len(two)), np.ones(len(three["kp_2d"]))])
    return {
        "keypoints_2d": gt["kp_2d"],
        "keypoints_3d": gt["kp_3d"],
        "pose": gt["theta"][..., 3:75],
        "shape": gt["theta"][..., 75:],
        "has_smpl": gt["w_smpl"],
        "has_3d": has_3d,
    }


@jax.jit
def prediction_of(kp_2d, kp_3d, theta):
    pose = theta[..., 3:75]
    return Prediction(
        camera=theta[..., :3],
        pose=pose,
        shape=theta[..., 75:],
        rotmat=matrix_from_axis_angle(pose.reshape(*pose.shape[:-1], 24, 3)),
        keypoints_3d=kp_3d,
        keypoints_2d=kp_2d,
        verts=None,
        feature=None,
    )


def losses_of(pred, labels, weights):
    counts = {has: L.count(labels[has]) for has in ("has_3d", "has_smpl")}
    return L.losses(pred, labels, weights, counts)


@jax.jit
def combined(predictions, batch, weights):
    return L.combined_losses(predictions, batch, weights, L.label_counts(batch, 1))


@pytest.mark.parametrize("kind", ["video", "image"])
def test_values_and_gradients_are_the_originals(golden, kind):
    labels = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), labels_of(golden, kind))
    weights = dict(zip(TERMS.values(), golden["weights"].tolist()))
    pred = [jnp.asarray(golden[f"{kind}/pred/{k}"]) for k in ("kp_2d", "kp_3d", "theta")]

    def total(*pred):
        return losses_of(prediction_of(*pred), labels, weights)

    gradient = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
    (value, terms), grads = gradient(*pred)
    for theirs, ours in TERMS.items():
        # The original's terms are stored with their weights applied.
        expected = golden[f"{kind}/loss_{theirs}"]
        np.testing.assert_allclose(terms[ours] * weights[ours], expected, rtol=1e-4)
    np.testing.assert_allclose(value, golden[f"{kind}/total"], rtol=1e-4)
    for name, grad in zip(("kp_2d", "kp_3d", "theta"), grads):
        expected = golden[f"{kind}/grad/{name}"]
        np.testing.assert_allclose(grad, expected, atol=1e-4 * np.abs(expected).max())


@jax.jit
def total_of(pred, labels, weights):
    return losses_of(pred, labels, weights)[0]


def random_case(seed, b=3, t=2):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(b, t, 85)).astype(np.float32)
    kp = rng.normal(size=(b, t, 49, 4)).astype(np.float32)
    pred = prediction_of(*(jnp.asarray(x) for x in (kp[..., :2], kp[..., :3], theta)))
    labels = {
        "keypoints_2d": rng.uniform(size=(b, t, 49, 3)),
        "keypoints_3d": np.concatenate([kp[..., :3], np.ones((b, t, 49, 1))], -1),
        "pose": theta[..., 3:75],
        "shape": theta[..., 75:],
        "has_smpl": np.ones((b, t)),
        "has_3d": np.ones(b),
    }
    return pred, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), labels)


def test_the_truth_costs_nothing():
    pred, labels = random_case(0)
    labels["keypoints_2d"] = labels["keypoints_2d"].at[..., :2].set(pred.keypoints_2d)
    weights = {"keypoints_2d": 1, "keypoints_3d": 1, "pose": 1, "shape": 1, "norm": 0}
    assert total_of(pred, labels, weights) < 1e-10


def test_3d_loss_ignores_where_the_body_stands():
    pred, labels = random_case(1)
    shifted = pred.replace(keypoints_3d=pred.keypoints_3d + jnp.array([1.0, -2.0, 3.0]))
    value = L.keypoint_3d_loss(shifted.keypoints_3d, labels["keypoints_3d"], labels["has_3d"], 3)
    assert value < 1e-10


def test_all_masked_labels_give_finite_values_and_gradients():
    pred, labels = random_case(2)
    masked = {
        "keypoints_2d": jnp.full_like(labels["keypoints_2d"], jnp.nan).at[..., 2].set(0),
        "keypoints_3d": jnp.full_like(labels["keypoints_3d"], jnp.nan).at[..., 3].set(0),
        "pose": jnp.full_like(labels["pose"], jnp.nan),
        "shape": jnp.full_like(labels["shape"], jnp.nan),
        "has_smpl": jnp.zeros_like(labels["has_smpl"]),
        "has_3d": jnp.zeros_like(labels["has_3d"]),
    }
    weights = dict.fromkeys(TERMS.values(), 1.0)

    def total(pred):
        return losses_of(pred, masked, weights)[0]

    pred = pred.replace(feature=jnp.zeros(1))
    value, grad = jax.jit(jax.value_and_grad(total))(pred)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))


def test_frames_without_smpl_labels_teach_neither_pose_nor_shape():
    pred, labels = random_case(5)
    labels["has_smpl"] = labels["has_smpl"].at[1].set(0)
    wrong = {k: labels[k].at[1].add(1.0) for k in ("pose", "shape")}
    weights = {"keypoints_2d": 0, "keypoints_3d": 0, "pose": 1, "shape": 1, "norm": 0}
    assert total_of(pred, labels | wrong, weights) < 1e-10
    everywhere = labels | wrong | {"has_smpl": jnp.ones((3, 2))}
    assert total_of(pred, everywhere, weights) > 0.1


def test_labels_that_are_not_numbers_at_all_count_as_masked():
    pred, labels = random_case(6)
    labels |= {k: labels[k].at[1].set(jnp.nan) for k in ("keypoints_2d", "keypoints_3d")}
    labels["has_3d"] = labels["has_3d"].at[1].set(0)
    weights = {"keypoints_2d": 1, "keypoints_3d": 1, "pose": 0, "shape": 0, "norm": 0}
    assert np.isfinite(total_of(pred, labels, weights))


def test_every_image_counts_but_only_clips_with_3d_labels(golden):
    """The original has no `has_3d` for images: the norm is the same without any 3D keypoint."""
    labels = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), labels_of(golden, "image"))
    labels |= {"has_3d": jnp.array([1.0, 0, 0, 0, 0])}
    pred = prediction_of(
        *(jnp.asarray(golden[f"image/pred/{k}"]) for k in ("kp_2d", "kp_3d", "theta"))
    )
    weights = dict(zip(TERMS.values(), golden["weights"].tolist()))
    _, terms = combined({"images": pred}, {"images": labels}, weights)
    np.testing.assert_allclose(
        terms["norm"] * weights["norm"], golden["image/loss_norm"], rtol=1e-5
    )
    _, only_first = combined(
        {"clips": jax.tree.map(lambda x: x[:1], pred)},
        {"clips": jax.tree.map(lambda x: x[:1], labels)},
        weights,
    )
    np.testing.assert_allclose(terms["keypoints_3d"], only_first["keypoints_3d"] / 5, rtol=1e-5)
    _, as_clips = combined({"clips": pred}, {"clips": labels}, weights)
    np.testing.assert_allclose(as_clips["norm"], only_first["norm"], rtol=1e-5)


def test_norm_loss_has_a_gradient_at_zero():
    pose, shape = jnp.zeros((1, 2, 72)), jnp.zeros((1, 2, 10))
    grad = jax.jit(jax.grad(L.norm_loss))(pose, shape, jnp.ones(1), 1)
    assert np.isfinite(grad).all()


def test_a_step_weighs_clips_and_images_by_their_frames():
    clips, clip_labels = random_case(3, b=2, t=4)
    images, image_labels = random_case(4, b=5, t=1)
    weights = dict.fromkeys(TERMS.values(), 1.0)
    both, terms = combined(
        {"clips": clips, "images": images}, {"clips": clip_labels, "images": image_labels}, weights
    )
    parts = [
        total_of(clips, clip_labels, weights),
        total_of(images, image_labels, weights),
    ]
    np.testing.assert_allclose(both, (8 * parts[0] + 5 * parts[1]) / 13, rtol=1e-6)
    np.testing.assert_allclose(both, sum(terms.values()), rtol=1e-6)
