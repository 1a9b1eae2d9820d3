import dataclasses

import numpy as np
import pytest
from animation_readers import Glb
from moving_person import camera_joints, moving_person

from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.exports.animation import Animation
from maed_jax.exports.glb import HIDDEN, visibility, write_glb
from maed_jax.exports.obj import posed_verts

FLIP = np.array([1, -1, -1])


@pytest.fixture(scope="module")
def person():
    return moving_person()


@pytest.fixture(scope="module")
def glb(person, tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "person_1.glb"
    write_glb(path, [person], mannequin())
    return Glb(path)


def test_joints_are_where_the_body_has_them(glb, person):
    truth = camera_joints(person) * FLIP
    np.testing.assert_allclose(glb.key_times(), person.times, atol=1e-6)
    for i, time in enumerate(glb.key_times()):
        places = glb.worlds(time, JOINT_NAMES)[:, :3, 3]
        assert np.abs(places - truth[i]).max() < 2e-5  # metres


def test_between_keys_joints_stay_near_their_way(glb, person):
    """A quaternion that changed sign would turn the body the long way round."""
    truth = camera_joints(person) * FLIP
    for i in range(len(person) - 1):
        half = (glb.key_times()[i] + glb.key_times()[i + 1]) / 2
        places = glb.worlds(half, JOINT_NAMES)[:, :3, 3]
        assert np.abs(places - (truth[i] + truth[i + 1]) / 2).max() < 0.03


def test_reprojection_through_the_camera_of_the_scene(glb, person):
    """The joints among the 49 keypoints, seen by the camera in the file."""
    lens = glb.json["cameras"][0]["perspective"]
    focal = 240 / np.tan(lens["yfov"] / 2)
    assert lens["aspectRatio"] == pytest.approx(640 / 480) and focal == pytest.approx(800)
    for i, time in enumerate(glb.key_times()):
        x, y, z = (glb.worlds(time, JOINT_NAMES)[:, :3, 3] * FLIP).T
        pixels = np.stack([focal * x / z + 320, focal * y / z + 240], -1)
        for keypoint, joint in ((10, "right_knee"), (6, "left_elbow"), (14, "left_ankle")):
            there = pixels[JOINT_NAMES.index(joint)]
            assert np.abs(there - person.keypoints_2d[i, keypoint]).max() < 0.1


def test_the_skin_follows(glb, person):
    """Lost are only pose-dependent blend shapes, and a vertex's fifth and further joints."""
    truth = np.stack(list(posed_verts(person, mannequin()))) * FLIP
    far = [
        np.linalg.norm(glb.verts(time, JOINT_NAMES) - truth[i], axis=1)
        for i, time in list(enumerate(glb.key_times()))[::5]
    ]
    assert np.mean(far) < 0.002 and np.max(far) < 0.04  # metres


def test_viewers_are_told_what_arrays_are_for_and_how_far_they_reach(glb):
    """glTF 2.0, 3.6: without bounds on positions and times, a file is invalid."""
    accessors, views = glb.json["accessors"], glb.json["bufferViews"]
    (mesh,), (animation,) = glb.json["meshes"], glb.json["animations"]
    (primitive,) = mesh["primitives"]
    times = {sampler["input"] for sampler in animation["samplers"]}
    for number in (primitive["attributes"]["POSITION"], *times):
        values = glb.array(number).reshape(accessors[number]["count"], -1)
        assert accessors[number]["min"] == values.min(0).tolist()
        assert accessors[number]["max"] == values.max(0).tolist()
    vertices, indices = 34962, 34963
    purposes = {number: vertices for number in primitive["attributes"].values()}
    purposes[primitive["indices"]] = indices
    for number, accessor in enumerate(accessors):
        assert views[accessor["bufferView"]].get("target") == purposes.get(number)


def test_the_scene_holds_every_node(glb):
    left, held = list(glb.json["scenes"][glb.json["scene"]]["nodes"]), []
    while left:
        held.append(left.pop())
        left += glb.json["nodes"][held[-1]].get("children", [])
    assert sorted(held) == list(range(len(glb.json["nodes"])))


def test_weights(glb):
    arrays = glb.json["meshes"][0]["primitives"][0]["attributes"]
    joints, weights = glb.array(arrays["JOINTS_0"]), glb.array(arrays["WEIGHTS_0"])
    assert joints.shape == weights.shape == (len(mannequin().template), 4)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (weights >= 0).all() and (joints[weights == 0] == 0).all() and joints.max() < 24
    lengths = np.linalg.norm(glb.array(arrays["NORMAL"]), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_a_scene_of_two_shows_each_in_their_time(person, tmp_path):
    late = moving_person(id=2, n=5, first=10)
    write_glb(tmp_path / "people.glb", [late, person], mannequin())
    glb = Glb(tmp_path / "people.glb")
    names = [node["name"] for node in glb.json["nodes"]]
    assert names.count("pelvis") == 2 and {"person_1", "person_2", "video_camera"} <= set(names)

    def size(frame):
        return np.linalg.det(glb.worlds(frame / 25, JOINT_NAMES)[0, :3, :3])

    assert [round(size(frame)) for frame in (0, 9, 10, 12, 14, 14.9, 15.1, 19)] == [
        0, 0, 1, 1, 1, 1, 0, 0,
    ]  # fmt: skip


def test_nobody_is_scaled_to_zero(person, tmp_path):
    """Programs divide by the scale, and some hide a mesh for good whose bounds are at zero."""
    write_glb(tmp_path / "a.glb", [moving_person(id=2, n=5, first=10), person], mannequin())
    glb = Glb(tmp_path / "a.glb")
    (animation,) = glb.json["animations"]
    scales = [c for c in animation["channels"] if c["target"]["path"] == "scale"]
    for channel in scales:
        assert glb.json["nodes"][channel["target"]["node"]]["name"] == "pelvis"
        values = glb.array(animation["samplers"][channel["sampler"]]["output"])
        assert {*values.ravel()} == {np.float32(HIDDEN), 1}
    assert scales


def test_a_single_person_is_hidden_before_their_track(tmp_path):
    write_glb(tmp_path / "a.glb", [moving_person(n=5, first=10)], mannequin())
    glb = Glb(tmp_path / "a.glb")
    volumes = [np.linalg.det(glb.worlds(f / 25, JOINT_NAMES)[0, :3, :3]) for f in (0, 9, 10, 14)]
    np.testing.assert_allclose(volumes, [0, 0, 1, 1], atol=1e-6)


def test_nobody_is_seen_in_the_gap_of_a_track(person, tmp_path):
    gap = 100 * (np.arange(20) >= 10)
    split = dataclasses.replace(person, frames=person.frames + gap, times=person.times + gap / 25)
    write_glb(tmp_path / "a.glb", [split], mannequin())
    glb = Glb(tmp_path / "a.glb")
    dets = [
        np.linalg.det(glb.worlds(frame / 25, JOINT_NAMES)[0, :3, :3])
        for frame in (0, 9, 9.9, 10.1, 60, 109.9, 110, 119)
    ]
    np.testing.assert_allclose(dets, [1, 1, 1, 0, 0, 0, 1, 1], atol=1e-6)


def test_a_person_is_hidden_outside_of_their_track_and_in_its_gaps():
    frames = np.array([2, 3, 60, 61])
    animation = Animation(1, frames, frames / 10, *np.zeros((4, 1)))
    when, visible = visibility(animation, 8)
    np.testing.assert_allclose(when, [0, 0.2, 0.4, 6, 6.2])
    assert visible.tolist() == [False, True, False, True, False] and when.dtype == np.float32
    np.testing.assert_allclose(visibility(animation, 6.1)[0], [0, 0.2, 0.4, 6])
    no_time_between = dataclasses.replace(animation, times=np.array([0.2, 2, 2.1, 6.1]))
    assert visibility(no_time_between, 8)[1].tolist() == [False, True, False]


def test_a_single_frame_and_repeated_times(tmp_path, person):
    write_glb(tmp_path / "one.glb", [moving_person(n=1)], mannequin())
    assert len(Glb(tmp_path / "one.glb").key_times()) == 1
    stuck = dataclasses.replace(person, times=np.minimum(person.times, 0.4) + 3600)
    write_glb(tmp_path / "stuck.glb", [stuck], mannequin())
    assert (np.diff(Glb(tmp_path / "stuck.glb").key_times()) > 0).all()
