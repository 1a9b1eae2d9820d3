import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maed_jax.body import skeleton
from maed_jax.errors import UserError

SETS_WITH_VECTORS = (
    "common", "h36m", "mpii3d", "mpii3d_test", "posetrack", "insta", "coco", "mpii", "spin",
)  # fmt: skip

# SMPL's joints by the original's names.
MOCAP_NAMES = (
    "hips", "leftUpLeg", "rightUpLeg", "spine", "leftLeg", "rightLeg", "spine1", "leftFoot",
    "rightFoot", "spine2", "leftToeBase", "rightToeBase", "neck", "leftShoulder", "rightShoulder",
    "head", "leftArm", "rightArm", "leftForeArm", "rightForeArm", "leftHand", "rightHand",
    "leftHandIndex1", "rightHandIndex1",
)  # fmt: skip


@pytest.fixture(scope="module")
def names(golden_dir):
    return json.loads((golden_dir / "joint_names.json").read_text())


@pytest.fixture(scope="module")
def vectors(golden_dir):
    with np.load(golden_dir / "keypoints.npz") as arrays:
        return dict(arrays)


@st.composite
def trees(draw):
    """Parents in any order: a parent may have a higher index than its children."""
    size = draw(st.integers(1, 40))
    number = draw(st.permutations(range(size)))
    parents = [-1] * size
    for joint in range(1, size):
        parent = draw(st.integers(-1, joint - 1))
        parents[number[joint]] = number[parent] if parent >= 0 else -1
    return parents


def test_joint_sets_are_the_originals(names):
    renamed = {"smpl": MOCAP_NAMES}
    for key, expected in names.items():
        if not key.endswith("_flipped"):
            assert renamed.get(key, skeleton.JOINT_SETS.get(key)) == tuple(expected), key


def test_no_set_names_a_joint_twice():
    for key, joints in skeleton.JOINT_SETS.items():
        assert len(set(joints)) == len(joints), key


@pytest.mark.parametrize("key", SETS_WITH_VECTORS)
def test_conversion_to_49(vectors, key):
    converted = skeleton.to_keypoints49(vectors[f"{key}/in"], key)
    np.testing.assert_array_equal(converted, vectors[f"{key}/spin"])
    assert converted.dtype == vectors[f"{key}/in"].dtype


def test_conversion_refuses_other_joints():
    with pytest.raises(UserError, match="no joint set 'cocoo'"):
        skeleton.to_keypoints49(np.zeros((17, 3)), "cocoo")
    with pytest.raises(ValueError, match="17"):
        skeleton.to_keypoints49(np.zeros((2, 16, 3)), "coco")


def test_flip_tables_are_the_originals(names):
    flipped = tuple(np.array(skeleton.KEYPOINT_NAMES)[skeleton.KEYPOINT_FLIP])
    assert flipped == tuple(names["spin_flipped"])
    flipped = tuple(np.array(MOCAP_NAMES)[skeleton.JOINT_FLIP])
    assert flipped == tuple(names["smpl_flipped"])


@pytest.mark.parametrize("key", skeleton.JOINT_SETS)
def test_flips_are_their_own_inverse(key):
    flip = skeleton.flip_permutation(key)
    np.testing.assert_array_equal(flip[flip], np.arange(len(flip)))
    sided = [name for name in skeleton.JOINT_SETS[key] if "left" in name or "right" in name]
    moved = {skeleton.JOINT_SETS[key][i] for i in np.flatnonzero(flip != np.arange(len(flip)))}
    assert set(sided) <= moved


def test_keypoint_flips(vectors):
    points = vectors["hflip2d_in"]
    centre = [(224 - 1) / 2, 0, 0]  # of the image, in pixels
    pixels = skeleton.flip_keypoints(points - centre) + centre
    np.testing.assert_allclose(pixels, vectors["hflip2d"], atol=1e-4 * 223)
    # In 3D, the original mirrors about the middle of the hips, which does not move.
    middle = points[:, [skeleton.RIGHT_HIP, skeleton.LEFT_HIP], :1].mean(axis=1, keepdims=True)
    about = skeleton.flip_keypoints(points - middle * [1, 0, 0]) + middle * [1, 0, 0]
    np.testing.assert_allclose(about, vectors["hflip3d"], atol=1e-6)
    after = about[:, [skeleton.RIGHT_HIP, skeleton.LEFT_HIP], :1].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(after, middle, atol=1e-6)


def test_pose_flip_moves_the_right_hand_too(vectors):
    pose = vectors["pose_in"]
    ours = skeleton.flip_pose(pose).reshape(-1, 24, 3)
    official = vectors["pose_hflip_official"].reshape(-1, 24, 3)
    np.testing.assert_array_equal(ours[:, :22], official[:, :22])
    np.testing.assert_array_equal(ours[:, 22], official[:, 22])
    # The original keeps the last joint, the right hand; here it gets the left hand's rotation.
    np.testing.assert_array_equal(ours[:, 23], pose.reshape(-1, 24, 3)[:, 22] * [1, -1, -1])
    assert np.abs(ours[:, 23] - official[:, 23]).max() > 0.1
    np.testing.assert_array_equal(skeleton.flip_pose(skeleton.flip_pose(pose)), pose)


@given(st.integers(0, 2**32 - 1))
def test_flipping_twice_is_nothing_and_once_is_the_mirror(seed):
    rng = np.random.default_rng(seed)
    pose, points = rng.normal(0, 1, (2, 72)), rng.normal(0, 100, (2, 49, 3))
    np.testing.assert_array_equal(skeleton.flip_pose(skeleton.flip_pose(pose)), pose)
    flipped = skeleton.flip_keypoints(points)
    np.testing.assert_array_equal(skeleton.flip_keypoints(flipped), points)
    np.testing.assert_array_equal(flipped[:, skeleton.KEYPOINT_FLIP, 0], -points[..., 0])
    M = np.diag([-1.0, 1, 1])
    before, after = (
        Rotation.from_rotvec(p.reshape(-1, 3)).as_matrix().reshape(2, 24, 3, 3)
        for p in (pose, skeleton.flip_pose(pose))
    )
    np.testing.assert_allclose(after, M @ before[:, skeleton.JOINT_FLIP] @ M, atol=1e-9)


SOME = st.lists(st.sampled_from(skeleton.KEYPOINT_NAMES), min_size=1, max_size=20, unique=True)


@given(SOME)
def test_points_follow_their_names_from_any_set(src):
    points = np.array([[skeleton.KEYPOINT_NAMES.index(name), 1.0] for name in src])
    converted = skeleton.to_keypoints49(points, src)
    for number, (name, found) in enumerate(zip(skeleton.KEYPOINT_NAMES, converted, strict=True)):
        assert found.tolist() == ([number, 1] if name in src else [0, 0])


@given(trees())
def test_ancestors_and_levels_of_any_tree(parents):
    chains = skeleton.ancestors(parents)
    for joint, chain in enumerate(chains):
        path, at = [], parents[joint]
        while at >= 0:
            path.insert(0, at)
            at = parents[at]
        assert list(chain) == path
    by_level = skeleton.levels(parents)
    assert sorted(joint for level in by_level for joint in level) == list(range(len(parents)))
    for depth, level in enumerate(by_level):
        assert all(len(chains[joint]) == depth for joint in level)


def test_the_tree_of_smpl():
    assert skeleton.ANCESTORS[23] == (0, 3, 6, 9, 14, 17, 19, 21)
    assert len(skeleton.LEVELS) == 9


@given(trees())
def test_descendants_are_ancestors_the_other_way_round(parents):
    above, below = skeleton.ancestors(parents), skeleton.descendants(parents)
    for joint, chain in enumerate(below):
        assert sorted(chain) == [other for other in range(len(parents)) if joint in above[other]]
        depth = [len(above[other]) for other in chain]
        assert depth == sorted(depth, reverse=True)


@pytest.mark.parametrize("parents", [[-1, 2, 1], [0], [-1, 3, 0], [-2], [-1, 2, 3, 2]])
def test_what_is_no_tree_is_refused(parents):
    with pytest.raises(ValueError, match="does not lead to a root"):
        skeleton.ancestors(parents)


def test_random_trees():
    assert skeleton.random_parents(6, seed=3) == (5, 5, 1, -1, 3, 3)  # saved models depend on it
    trees = [skeleton.random_parents(24, seed) for seed in range(50)]
    assert len(set(trees)) == 50
    assert all(tree.count(-1) == 1 for tree in trees)
    assert len({tree.index(-1) for tree in trees}) > 10  # any joint may be the root
    assert all(len(skeleton.ancestors(tree)) == 24 for tree in trees)


def test_keypoints_come_from_joints_and_landmarks_of_the_same_name():
    sources = [*skeleton.JOINT_NAMES, *skeleton.LANDMARK_NAMES]
    side = {"l": "left", "r": "right"}
    part = {"ankle": "ankle", "knee": "knee", "wrist": "wrist", "elbow": "elbow",
            "shoulder": "shoulder", "hip": "hip"}  # fmt: skip
    for name, source in zip(skeleton.KEYPOINT_NAMES[25:], skeleton.KEYPOINT_SOURCE[25:]):
        joint = f"{side.get(name[0], '')}_{part.get(name[1:], '')}"
        assert sources[source] in (name, joint), name


def test_tables_cannot_be_changed_by_accident():
    with pytest.raises(ValueError):
        skeleton.KEYPOINT_FLIP[0] = 5


def test_bones_are_mirrored():
    bones = {frozenset(bone) for bone in skeleton.SKELETON_BONES}
    flip = skeleton.KEYPOINT_FLIP
    assert {frozenset(int(flip[end]) for end in bone) for bone in bones} == bones


def test_bones_are_one_tree():
    reached, left = {skeleton.RIGHT_HIP}, list(skeleton.SKELETON_BONES)
    while bones := [bone for bone in left if len(reached & set(bone)) == 1]:
        reached |= set(bones[0])
        left.remove(bones[0])
    assert not left and reached == {end for bone in skeleton.SKELETON_BONES for end in bone}
