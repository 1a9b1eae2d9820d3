import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import parity_rules
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from scipy.spatial.transform import Rotation

from maed_jax.bench.collectives import collectives
from maed_jax.body import camera, rotations, skeleton, smpl
from maed_jax.body.files import load_body
from maed_jax.errors import UserError


@pytest.fixture(scope="module")
def body():
    return load_body(parity_rules.smpl_files())


@pytest.fixture(scope="module")
def small(body):
    return smpl.keypoint_body(body, h36m=True)


@pytest.fixture(scope="module")
def vectors(golden_dir):
    with np.load(golden_dir / "smpl_geometry.npz") as arrays:
        return dict(arrays)


def points(body, pose, betas):
    """Posed body, 49 keypoints and Human3.6M's joints from axis-angle [... 72]."""
    R_parent_joint = rotations.matrix_from_axis_angle(pose.reshape(*pose.shape[:-1], 24, 3))
    posed = smpl.pose_body(body, R_parent_joint, betas)
    return posed, smpl.keypoints(body, posed), smpl.h36m_joints(body, posed)


jitted_points = jax.jit(points)


@jax.jit
def squares(body, pose, betas):
    return jnp.sum(points(body, pose, betas)[1] ** 2)


gradients = jax.jit(jax.grad(squares, (1, 2)))


def close(found, expected, tolerance=1e-4):
    """Asserts equality to within `tolerance` of the largest value."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def example(shape, seed=0, scale=0.6):
    rng = np.random.default_rng(seed)
    pose = rng.standard_normal((*shape, 72)).astype(np.float32) * scale
    return pose, rng.standard_normal((*shape, 10)).astype(np.float32)


@pytest.mark.parametrize(
    "rotations, betas, says",
    [
        ((8, 24, 3), (8, 10), r"matrices \[... 24 3 3\], not \[8, 24, 3\].*matrix_from_axis_angle"),
        ((8, 22, 3, 3), (8, 10), r"not \[8, 22, 3, 3\]"),
        ((8, 24, 3, 3), (8, 16), r"takes betas \[... 10\], not \[8, 16\]"),
        ((24, 3, 3), (), r"takes betas \[... 10\], not \[\]"),
    ],
)
def test_arrays_of_another_shape_are_named(small, rotations, betas, says):
    with pytest.raises(UserError, match=says):
        smpl.pose_body(small, jnp.zeros(rotations), jnp.zeros(betas))


def test_vertices_keypoints_and_projection_as_the_original(body, vectors):
    posed, keypoints, _ = jitted_points(body, vectors["pose"], vectors["betas"])
    close(posed.verts[:, ::17], vectors["verts"], 1e-5)
    close(keypoints, vectors["joints49"], 1e-5)
    close(camera.project(keypoints, vectors["cam"]), vectors["kp_2d"])


@pytest.mark.parametrize("which", ["body", "small"])
def test_gradients_as_the_original(which, vectors, request):
    body = request.getfixturevalue(which)
    d_pose, d_betas = gradients(body, vectors["pose"][:4], vectors["betas"][:4])
    close(d_pose, vectors["d_pose"])
    close(d_betas, vectors["d_betas"])


# Strengths of poses and shapes.
ANYONE = (st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 5))


def anyone(seed, bend, spread):
    pose, betas = example((5,), seed, bend)
    return pose, betas * np.float32(spread)


@examples(5)
@given(*ANYONE)
def test_joints_only_equals_the_full_path(body, small, seed, bend, spread):
    assert small.template.shape[0] < 1100 < body.template.shape[0]
    person = anyone(seed, bend, spread)
    full, few = jitted_points(body, *person), jitted_points(small, *person)
    close(few[0].joints, full[0].joints, 1e-6)
    close(few[1], full[1], 2e-6)
    close(few[2], full[2], 2e-6)


def test_against_four_by_four_matrices_in_float64(body):
    """An independent SMPL, one body and one joint at a time."""
    pose, betas = example((5,), seed=3)
    one_pose, one_shape = pose[2], betas[2]
    f64 = {
        field.name: np.asarray(getattr(body, field.name), np.float64)
        for field in dataclasses.fields(body)
        if field.name not in ("name", "parents")
    }
    R = Rotation.from_rotvec(one_pose.reshape(24, 3)).as_matrix()
    rest_joints = f64["rest_joints"] + f64["rest_joint_dirs"] @ one_shape
    feature = (R[1:] - np.eye(3)).reshape(-1)
    rest = f64["template"] + f64["shape_dirs"] @ one_shape + f64["pose_dirs"] @ feature
    world = []
    for joint, parent in enumerate(skeleton.PARENTS):
        local = np.eye(4)
        local[:3, :3] = R[joint]
        local[:3, 3] = rest_joints[joint] - (rest_joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    from_rest = [T @ np.block([[np.eye(3), -rest_joints[j][:, None]], [0, 0, 0, 1]])
                 for j, T in enumerate(world)]  # fmt: skip
    blended = np.einsum("vj,jab->vab", f64["skin_weights"], np.stack(from_rest))
    verts = np.einsum("vab,vb->va", blended, np.c_[rest, np.ones(len(rest))])[:, :3]
    posed, _, _ = jitted_points(body, pose, betas)
    posed = jax.tree.map(lambda points: points[2], posed)
    close(posed.joints, np.stack(world)[:, :3, 3], 2e-6)
    close(posed.verts, verts, 2e-6)


def test_zero_pose_and_shape_is_the_template(body):
    posed, _, _ = jitted_points(body, np.zeros((5, 72), np.float32), np.zeros((5, 10), np.float32))
    close(posed.verts[0], np.asarray(body.template), 1e-6)
    close(posed.joints[0], np.asarray(body.rest_joints), 1e-6)


@examples(5)
@given(*ANYONE)
def test_zero_pose_is_the_template_in_any_shape(body, seed, bend, spread):
    betas = anyone(seed, bend, spread)[1]
    posed, _, _ = jitted_points(body, np.zeros((5, 72), np.float32), betas)
    shaped = np.einsum("vxs,bs->bvx", np.asarray(body.shape_dirs, np.float64), betas)
    close(posed.verts, np.asarray(body.template) + shaped, 1e-6)


@examples(5)
@given(*ANYONE)
def test_turning_the_root_turns_everything_about_the_pelvis(body, seed, bend, spread):
    pose, betas = anyone(seed, bend, spread)
    turn = Rotation.random(5, random_state=seed)
    turned = pose.copy()
    turned[:, :3] = (turn * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    before, before_points, _ = jitted_points(body, pose, betas)
    after, after_points, _ = jitted_points(body, turned, betas)
    pelvis = np.asarray(before.joints)[:, :1]
    np.testing.assert_allclose(after.joints[:, :1], pelvis, atol=1e-6)

    def expected(found):
        return np.einsum("bij,bnj->bni", turn.as_matrix(), found - pelvis) + pelvis

    close(after.verts, expected(np.asarray(before.verts)), 3e-6)
    close(after.joints, expected(np.asarray(before.joints)), 3e-6)
    close(after_points, expected(np.asarray(before_points)), 3e-6)


def test_flipped_pose_poses_the_mirrored_skeleton(small):
    mirror = np.array([-1, 1, 1], np.float32)

    def symmetric(joints):
        return (joints + joints[skeleton.JOINT_FLIP] * mirror) / 2

    rest = symmetric(np.asarray(small.rest_joints))
    body = dataclasses.replace(small, rest_joints=jnp.asarray(rest))
    pose, _ = example((5,), seed=5)
    betas = np.zeros((5, 10), np.float32)
    joints = jitted_points(body, pose, betas)[0].joints
    flipped = jitted_points(body, skeleton.flip_pose(pose), betas)[0].joints
    close(flipped, np.asarray(joints)[:, skeleton.JOINT_FLIP] * mirror, 2e-6)


def test_gradients_are_finite_at_zero_and_at_pi(small):
    axes = np.array([[0, 0, 0], [np.pi, 0, 0], [0, -np.pi, 0], [1e-20, 0, 0]], np.float32)
    for gradient in gradients(small, np.tile(axes, 24), np.zeros((4, 10), np.float32)):
        assert np.isfinite(gradient).all()


def test_gradients_are_finite_for_degenerate_6d(small):
    @jax.jit
    @jax.grad
    def gradient(sixd):
        posed = smpl.pose_body(small, rotations.matrix_from_6d(sixd), jnp.zeros(10))
        return jnp.sum(smpl.keypoints(small, posed) ** 2)

    for sixd in (np.zeros((24, 6)), np.ones((24, 6)), np.full((24, 6), 1e-8)):
        assert np.isfinite(gradient(jnp.asarray(sixd, jnp.float32))).all()


def test_any_leading_axes(small):
    pose, betas = example((2, 3))
    posed, keypoints, h36m = jitted_points(small, pose, betas)
    verts = small.template.shape[0]
    assert posed.joints.shape == (2, 3, 24, 3) and posed.verts.shape == (2, 3, verts, 3)
    assert keypoints.shape == (2, 3, 49, 3) and h36m.shape == (2, 3, 17, 3)
    mapped = jax.jit(jax.vmap(jax.vmap(points, (None, 0, 0)), (None, 0, 0)))(small, pose, betas)
    close(mapped[1], np.asarray(keypoints), 1e-6)
    # One shape or one pose for all frames broadcasts, and empty batches are allowed.
    broadcast = jitted_points(small, pose, betas[:, :1])[1]
    close(broadcast, np.asarray(jitted_points(small, pose, betas[:, [0, 0, 0]])[1]), 1e-6)
    one_pose = jax.eval_shape(points, small, pose[0, 0], betas)
    assert one_pose[0].verts.shape == (2, 3, verts, 3)
    none = jax.eval_shape(points, small, jnp.zeros((0, 72)), jnp.zeros((0, 10)))
    assert none[0].verts.shape == (0, verts, 3) and none[1].shape == (0, 49, 3)


def test_a_batch_on_many_devices_stays_where_it_is(small):
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    split = NamedSharding(mesh, P("data"))

    def far(rotations, betas):
        return jnp.sum(smpl.pose_body(small, rotations, betas).verts ** 2)

    shapes = [(8, 2, 24, 3, 3), (8, 2, 10)]
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=split) for shape in shapes]
    gradient = jax.jit(jax.grad(far, (0, 1)), out_shardings=split)
    assert collectives(gradient.lower(*inputs).compile().as_text(), 8) == []


def test_a_body_of_numpy_arrays_may_be_closed_over(small):
    arrays = jax.tree.map(np.asarray, small)
    pose = np.full((1, 72), 0.1, np.float32)
    betas = np.zeros((1, 10), np.float32)
    got = jax.eval_shape(lambda pose, betas: points(arrays, pose, betas)[1:], pose, betas)
    assert [part.shape for part in got] == [(1, 49, 3), (1, 17, 3)]


def test_any_tree():
    """Compares a tree with two roots and indices not ordered by depth with explicit formulas."""
    parents = (-1, 0, 1, -1, 0, 3)
    R = Rotation.random(6, random_state=0).as_matrix().astype(np.float32)
    rest = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    found = smpl._forward_kinematics(parents, jnp.asarray(R)[None], jnp.asarray(rest)[None])[0]
    for joint, parent in enumerate(parents):
        expected = (R[joint], rest[joint])
        if parent >= 0:
            above = np.asarray(found[parent])
            bone = rest[joint] - rest[parent]
            expected = above[:, :3] @ R[joint], above[:, 3] + above[:, :3] @ bone
        np.testing.assert_allclose(found[joint], np.c_[expected], atol=1e-5)


def test_restricting_keeps_faces_and_drops_what_would_be_wrong(body):
    ids = np.unique(np.asarray(body.faces[:50]))
    part = smpl.restrict(body, ids)
    np.testing.assert_array_equal(part.template, np.asarray(body.template)[ids])
    kept = {tuple(face) for face in ids[np.asarray(part.faces)]}
    assert kept >= {tuple(face) for face in np.asarray(body.faces[:50])}
    assert part.landmark_regressor is None and part.h36m_regressor is None
    assert smpl.keypoint_body(body).h36m_regressor is None


def test_a_body_without_regressors_says_what_it_needs(body):
    bare = dataclasses.replace(body, landmark_regressor=None, h36m_regressor=None)
    posed = smpl.Posed(jnp.zeros((24, 3)), jnp.zeros((6890, 3)))
    with pytest.raises(UserError, match="J_regressor_extra.npy.*docs/body.md"):
        smpl.keypoints(bare, posed)
    with pytest.raises(UserError, match="J_regressor_extra.npy"):
        smpl.keypoint_body(bare)
    with pytest.raises(UserError, match="J_regressor_h36m.npy"):
        smpl.h36m_joints(bare, posed)
    part = smpl.restrict(bare, [0, 5])
    assert part.landmark_regressor is None and part.h36m_regressor is None


def test_name_and_tree_are_static(body):
    leaves, structure = jax.tree.flatten(body)
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves).parents == skeleton.PARENTS
    other = dataclasses.replace(body, name="other")
    assert jax.tree.structure(other) != structure
    with pytest.raises(dataclasses.FrozenInstanceError):
        body.name = "other"
