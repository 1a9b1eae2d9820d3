"""The built-in body: a valid symmetric mesh, its rig, and shape directions true to their names."""

import functools

import jax
import numpy as np
import pytest
from mirror_vertices import mirror_vertices
from scipy.spatial.transform import Rotation

from maed_jax.body import mannequin as module
from maed_jax.body import mannequin_anatomy as anatomy
from maed_jax.body.mannequin import mannequin
from maed_jax.body.mannequin_shape import SHAPE_NAMES
from maed_jax.body.skeleton import JOINT_FLIP, JOINT_NAMES, KEYPOINT_FLIP, LANDMARK_NAMES
from maed_jax.body.smpl import h36m_joints, keypoints, pose_body

FLIP_X = np.array([-1.0, 1.0, 1.0], np.float32)
JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}


@pytest.fixture(scope="module")
def body():
    return jax.device_get(mannequin())


@functools.cache
def edges_of_faces() -> np.ndarray:
    faces = np.asarray(mannequin().faces)
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def posed(body, pose=None, betas=None):
    """NumPy joints and vertices posed by rotation vectors, given by joint name."""
    vectors = np.zeros((24, 3))
    for name, vector in (pose or {}).items():
        vectors[JOINT[name]] = vector
    matrices = Rotation.from_rotvec(vectors).as_matrix().astype(np.float32)
    betas = np.zeros(10, np.float32) if betas is None else np.asarray(betas, np.float32)
    return pose_body(body, matrices, betas)


def volume(body, verts) -> float:
    """Volume in litres."""
    a, b, c = (np.asarray(verts, np.float64)[body.faces[:, i]] for i in range(3))
    return 1000 * float(np.einsum("ni,ni->", a, np.cross(b, c))) / 6


def shaped(body, name: str, amount: float = 1.0) -> np.ndarray:
    return body.template + amount * body.shape_dirs[..., SHAPE_NAMES.index(name)]


# --- the surface ----------------------------------------------------------------------------------


def test_the_surface_is_one_closed_oriented_manifold_of_genus_zero(body):
    verts, directed = len(body.template), edges_of_faces()
    assert 6500 <= verts <= 7500
    assert len(np.unique(directed, axis=0)) == len(directed)  # consistent orientation
    edges, count = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    assert (count == 2).all()
    assert verts - len(edges) + len(body.faces) == 2
    assert len(np.unique(body.faces)) == verts  # no unused vertices
    reached = np.arange(verts)  # one component: the smallest label spreads everywhere
    for _ in range(verts):
        before = reached.copy()
        np.minimum.at(reached, directed[:, 0], before[directed[:, 1]])
        reached = reached[reached]
        if (reached == before).all():
            break
    assert (reached == 0).all()


def test_faces_look_outward_and_are_not_slivers(body):
    assert 50 < volume(body, body.template) < 100
    a, b, c = (body.template[body.faces[:, i]].astype(np.float64) for i in range(3))
    normal = np.cross(b - a, c - a)
    outward = anatomy.distance(
        (a + b + c) / 3 + 0.002 * normal / np.linalg.norm(normal, axis=1)[:, None]
    )
    inward = anatomy.distance(
        (a + b + c) / 3 - 0.002 * normal / np.linalg.norm(normal, axis=1)[:, None]
    )
    assert (outward > inward).all()
    sides = ((b - a) ** 2).sum(1) + ((c - b) ** 2).sum(1) + ((a - c) ** 2).sum(1)
    quality = 2 * np.sqrt(3) * np.linalg.norm(normal, axis=1) / sides  # 1: equilateral
    assert quality.min() > 0.1
    assert np.median(quality) > 0.75


def test_every_vertex_lies_on_the_anatomy(body):
    assert np.abs(anatomy.distance(body.template)).max() < 5e-4


def test_it_has_the_size_of_a_person(body):
    size = np.ptp(body.template, axis=0)
    assert 1.65 < size[1] < 1.75
    assert 1.62 < size[0] < 1.80  # arm span
    assert 0.2 < size[2] < 0.35


def test_everything_is_exactly_symmetric(body):
    mirror = mirror_vertices()
    assert (mirror[mirror] == np.arange(len(mirror))).all()
    assert (body.template[mirror] == body.template * FLIP_X).all()
    assert (body.shape_dirs[mirror] == body.shape_dirs * FLIP_X[:, None]).all()
    assert (body.skin_weights[mirror][:, JOINT_FLIP] == body.skin_weights).all()
    flipped = np.sort(mirror[body.faces], axis=1)
    assert len(np.unique(np.concatenate([flipped, np.sort(body.faces, axis=1)]), axis=0)) == len(
        body.faces
    )
    np.testing.assert_allclose(body.rest_joints[JOINT_FLIP], body.rest_joints * FLIP_X, atol=1e-7)
    parts = module.vertex_parts()
    assert (parts[mirror] == parts).all()


def test_building_it_twice_gives_identical_arrays(body):
    module._rest.cache_clear()
    again = mannequin.__wrapped__()
    for name in ("template", "faces", "shape_dirs", "pose_dirs", "skin_weights", "rest_joints",
                 "rest_joint_dirs", "landmark_regressor", "h36m_regressor"):  # fmt: skip
        assert np.array_equal(getattr(again, name), getattr(body, name)), name
    assert mannequin() is mannequin()
    assert body.name == "mannequin"


# --- the rig --------------------------------------------------------------------------------------


def test_skin_weights_are_fractions_of_at_most_four_joints(body):
    weights = body.skin_weights
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights >= 0).all()
    assert (weights > 0).sum(axis=1).max() <= 4
    assert (weights.max(axis=0) > 0.75).all()  # every joint dominates somewhere
    left, right = body.template[:, 0] > 0.06, body.template[:, 0] < -0.06  # not the crotch
    for name, joint in JOINT.items():
        if name.startswith("left"):
            assert weights[right, joint].max() == 0, name
        if name.startswith("right"):
            assert weights[left, joint].max() == 0, name


def test_neighbours_have_similar_weights(body):
    a, b = edges_of_faces().T
    length = np.linalg.norm(body.template[a] - body.template[b], axis=1)
    change = np.abs(body.skin_weights[a] - body.skin_weights[b]).sum(axis=1)
    assert (change < 45 * (length + 0.005)).all()  # no discontinuities


def test_regressed_joints_are_the_joints_of_the_anatomy(body):
    np.testing.assert_allclose(body.rest_joints, anatomy.rest_joints(), atol=1e-5)
    for rows in (body.landmark_regressor, body.h36m_regressor):
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
        assert (rows >= 0).all()
        assert ((rows > 0).sum(axis=1) <= 48).all()  # sparse: keypoints need few skinned vertices
    assert ((body.landmark_regressor[:21] == 1).sum(axis=1) == 1).all()


def test_zero_pose_is_the_template(body):
    at_rest = posed(body)
    np.testing.assert_allclose(at_rest.verts, body.template, atol=1e-6)
    np.testing.assert_allclose(at_rest.joints, body.rest_joints, atol=1e-6)


def test_landmarks_are_where_their_names_say(body):
    at = dict(zip(LANDMARK_NAMES, body.landmark_regressor @ body.template))
    head = body.template[body.template[:, 1] > 0.37]
    assert at["nose"][2] == head[:, 2].max() and at["nose"][0] == 0
    assert at["leye"][0] > 0.02 and at["leye"][2] > 0.08 > 0.02 > at["lear"][2]
    assert at["lear"][0] > 0.07 and at["reye"][0] < -0.02
    assert at["lbigtoe"][2] > at["lsmalltoe"][2] > 0.08 > 0 > at["lheel"][2]
    assert at["lsmalltoe"][0] > at["lbigtoe"][0] > 0
    tips = [at[f"l{finger}"] for finger in ("thumb", "index", "middle", "ring", "pinky")]
    assert (np.diff([tip[2] for tip in tips]) < 0).all()  # the thumb points forward
    assert tips[2][0] > body.template[:, 0].max() - 0.005
    assert at["headtop"][1] > 0.52 and at["neck"][1] < at["Jaw (H36M)"][1] < at["Head (H36M)"][1]


def test_keypoints_flip_with_the_body(body):
    pose = {
        "left_shoulder": (0.3, -0.2, -0.9),
        "right_knee": (1.1, 0, 0),
        "spine1": (0.2, 0.3, 0.1),
    }
    betas = np.linspace(-1.5, 1.5, 10)
    mirrored = {}
    for name, vector in pose.items():
        other = JOINT_NAMES[JOINT_FLIP[JOINT[name]]]
        mirrored[other] = np.array(vector) * (1, -1, -1)
    one, two = posed(body, pose, betas), posed(body, mirrored, betas)
    np.testing.assert_allclose(two.verts, one.verts[mirror_vertices()] * FLIP_X, atol=2e-6)
    np.testing.assert_allclose(
        keypoints(body, two), keypoints(body, one)[KEYPOINT_FLIP] * FLIP_X, atol=2e-6
    )
    h36m_flip = np.array([0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13])
    np.testing.assert_allclose(
        h36m_joints(body, two), h36m_joints(body, one)[h36m_flip] * FLIP_X, atol=2e-6
    )


POSES = {
    "elbow": {"left_elbow": (0, -2.1, 0)},
    "knee": {"left_knee": (2.1, 0, 0)},
    "arms up": {"left_shoulder": (0, 0, 1.3), "right_shoulder": (0, 0, -1.3)},
    "arms down": {"left_shoulder": (0, 0, -1.3), "right_shoulder": (0, 0, 1.3)},
    "sitting": {"left_hip": (-1.6, 0, 0), "right_hip": (-1.6, 0, 0)},
    "wrist twist": {"left_wrist": (1.4, 0, 0)},
    "bow": {"spine1": (0.6, 0, 0), "spine2": (0.5, 0, 0), "neck": (0.4, 0, 0)},
}


@pytest.mark.parametrize("name", POSES)
def test_poses_neither_tear_nor_collapse(body, name):
    verts = np.asarray(posed(body, POSES[name]).verts)
    assert abs(volume(body, verts) / volume(body, body.template) - 1) < 0.05
    a, b = edges_of_faces().T
    before = np.linalg.norm(body.template[a] - body.template[b], axis=1)
    after = np.linalg.norm(verts[a] - verts[b], axis=1)
    assert (after < 2.5 * before + 0.02).all()
    plain = np.asarray(posed_without_correction(body, POSES[name]))
    bend = np.linalg.norm(plain - verts, axis=1)
    assert 0.001 < bend.max() < 0.08  # the correction has an effect, but a small one


def posed_without_correction(body, pose):
    import dataclasses

    return posed(dataclasses.replace(body, pose_dirs=np.zeros_like(body.pose_dirs)), pose).verts


def test_a_bent_elbow_keeps_its_thickness(body):
    """Vertices around the joint keep their distance; plain blending would pull them in."""
    ring = np.flatnonzero(
        (np.abs(body.skin_weights[:, JOINT["left_elbow"]] - 0.5) < 0.15)
        & (body.skin_weights[:, JOINT["left_shoulder"]] > 0.3)
    )
    assert len(ring) > 8
    joint = body.rest_joints[JOINT["left_elbow"]]
    before = np.linalg.norm(body.template[ring] - joint, axis=1)
    after = np.linalg.norm(np.asarray(posed(body, POSES["elbow"]).verts)[ring] - joint, axis=1)
    plain = np.linalg.norm(
        np.asarray(posed_without_correction(body, POSES["elbow"]))[ring] - joint, axis=1
    )
    assert (after / before).mean() > 0.87 > 0.80 > (plain / before).mean()


# --- shape ----------------------------------------------------------------------------------------


def test_joints_follow_shape_linearly(body):
    betas = np.array([1.0, -0.5, 0.7, 0.3, -1.2, 0.4, 0.9, -0.8, 1.1, -0.2])
    joints = posed(body, betas=betas).joints
    np.testing.assert_allclose(joints, body.rest_joints + body.rest_joint_dirs @ betas, atol=1e-6)
    # A joint stays inside its limb, at the same relative distance to both sides of the elbow.
    assert np.abs(body.rest_joint_dirs).max() < 0.06


def test_shape_directions_do_what_their_names_say(body):
    def joint(name, direction):
        return body.rest_joint_dirs[JOINT[name], :, SHAPE_NAMES.index(direction)]

    def size(direction):
        return np.ptp(shaped(body, direction), axis=0) - np.ptp(body.template, axis=0)

    base = volume(body, body.template)
    litres = {name: volume(body, shaped(body, name)) - base for name in SHAPE_NAMES}
    assert len(SHAPE_NAMES) == body.shape_dirs.shape[2] == 10
    assert 0.06 < size("stature")[1] < 0.08
    assert 8 < litres["girth"] < 14 and abs(size("girth")[1]) < 0.01
    assert 4 < litres["muscle"] < 8 and abs(size("muscle")[1]) < 0.002
    assert abs(size("leg length")[1]) < 0.003
    longer = joint("left_hip", "leg length") - joint("left_ankle", "leg length")
    assert 0.022 < longer[1] < 0.028
    assert 0.036 < size("arm length")[0] < 0.060 and abs(size("arm length")[1]) < 1e-3
    assert 0.018 < joint("left_wrist", "arm length")[0] < 0.022
    assert 0.008 < joint("left_shoulder", "shoulder width")[0] < 0.014
    assert np.abs(joint("left_hip", "shoulder width")).max() < 1e-3
    assert 0.005 < joint("left_hip", "hip width")[0] < 0.010
    hips = np.abs(body.template[:, 1] + 0.28) < 0.03
    assert 0.02 < np.ptp(shaped(body, "hip width")[hips, 0]) - np.ptp(body.template[hips, 0]) < 0.03
    assert abs(joint("left_shoulder", "hip width")[0]) < 1e-3
    belly = np.abs(body.template[:, 1] + 0.09) < 0.02
    front = shaped(body, "belly")[belly, 2].max() - body.template[belly, 2].max()
    assert 0.015 < front < 0.026
    assert abs(shaped(body, "belly")[belly, 2].min() - body.template[belly, 2].min()) < 0.003
    chest = np.abs(body.template[:, 1] - 0.13) < 0.03
    chest &= np.abs(body.template[:, 0]) < 0.15
    deeper = np.ptp(shaped(body, "chest depth")[chest, 2]) - np.ptp(body.template[chest, 2])
    assert 0.015 < deeper < 0.035
    assert 0.005 < size("head size")[1] < 0.010
    assert (
        np.abs(body.shape_dirs[body.template[:, 1] < 0.1, :, SHAPE_NAMES.index("head size")]).max()
        < 1e-3
    )


def test_two_deviations_do_not_turn_the_surface_inside_out(body):
    def face_normals(verts):
        a, b, c = (verts[body.faces[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        return normal / np.linalg.norm(normal, axis=1, keepdims=True)

    rng = np.random.default_rng(0)
    rest = face_normals(body.template)
    corners = [amount * np.eye(10)[i] for i in range(10) for amount in (-2, 2)]
    for betas in corners + list(np.clip(rng.normal(size=(20, 10)), -2, 2)):
        turned = (face_normals(body.template + body.shape_dirs @ betas) * rest).sum(axis=1)
        assert turned.min() > 0, betas


# --- parts ----------------------------------------------------------------------------------------


def test_parts_dress_the_body(body):
    parts = module.vertex_parts()
    assert parts.shape == (len(body.template),) and parts.dtype == np.int32
    middle = {
        name: body.template[parts == i].mean(axis=0) for i, name in enumerate(module.PART_NAMES)
    }
    assert set(np.unique(parts)) == set(range(len(module.PART_NAMES)))
    assert middle["hair"][1] > middle["eyes"][1] > middle["lips"][1] > middle["shirt"][1]
    assert middle["shirt"][1] > middle["trousers"][1] > middle["shoes"][1] > middle["soles"][1]
    assert middle["eyes"][2] > 0.08 > middle["hair"][2]
    hands = np.abs(body.template[:, 0]) > 0.5
    assert (parts[hands] == module.PART_NAMES.index("skin")).all()
