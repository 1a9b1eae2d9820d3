"""Cameras look where they should; light and colours stay within range."""

import numpy as np
import pytest

from maed_jax.body import mannequin as body
from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.datasets.mannequins import scene


def test_look_from_the_front():
    camera = scene.look_at(np.array([[0.0, 1.0, 4.0]]), np.array([[0.0, 1.0, 0.0]]))
    # Someone upright and facing the camera, in OpenCV's frame, which has y down and z forward.
    np.testing.assert_allclose(camera.R_cam_world[0], np.diag([1, -1, -1]), atol=1e-12)
    points = camera.to_camera(np.array([[[0, 1, 0], [1, 1, 0], [0, 2, 0], [0, 1, 1.0]]]))[0]
    np.testing.assert_allclose(points, [[0, 0, 4], [1, 0, 4], [0, -1, 4], [0, 0, 3]], atol=1e-12)


def test_roll_turns_the_image_clockwise_for_a_camera_turned_counterclockwise():
    level, rolled = (
        scene.look_at(np.array([[0, 1.0, 4]]), np.array([[0, 1.0, 0]]), r) for r in (0.0, 0.3)
    )
    np.testing.assert_allclose(
        rolled.R_cam_world[0] @ rolled.R_cam_world[0].T, np.eye(3), atol=1e-12
    )
    point = np.array([[[1.0, 1.0, 0.0]]])
    before, after = level.to_camera(point)[0, 0], rolled.to_camera(point)[0, 0]
    angle = np.arctan2(after[1], after[0]) - np.arctan2(before[1], before[0])
    assert abs(abs(angle) - 0.3) < 1e-9


@pytest.mark.parametrize("seed", range(25))
def test_drawn_cameras_see_the_person(seed):
    rng = np.random.default_rng(seed)
    length = rng.choice([0.0, 6.0])
    path = np.stack([np.linspace(0, length, 120), np.full(120, 0.9), np.zeros(120)], -1)
    camera = scene.draw_camera(rng, path, 30.0)
    R = camera.R_cam_world
    np.testing.assert_allclose(R @ R.swapaxes(1, 2) - np.eye(3), 0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(R), 1)
    seen = camera.to_camera(path[:, None])[:, 0]
    assert (seen[:, 2] > 1.5).all() and (seen[:, 2] < 10.5).all()
    assert (np.abs(seen[:, :2] / seen[:, 2:]) < np.tan(np.deg2rad(40))).all()
    position = -np.einsum("fji,fj->fi", R, camera.t_cam_world)
    assert (position[:, 1] >= 0.25 - 1e-9).all(), "above the floor"
    assert np.abs(np.diff(position, axis=0)).max() < 0.12, "without jumps"


def test_cameras_are_varied():
    path = np.tile([0.0, 0.9, 0.0], (8, 1))
    cameras = [scene.draw_camera(np.random.default_rng(s), path, 30.0) for s in range(300)]
    places = np.stack([-c.R_cam_world[0].T @ c.t_cam_world[0] for c in cameras])
    azimuth = np.arctan2(places[:, 0], places[:, 2])
    assert np.histogram(azimuth, 8, (-np.pi, np.pi))[0].min() > 15
    distance = np.linalg.norm(places - path[0], axis=1)
    assert distance.min() > 2.9 and distance.max() < 8.1 and np.ptp(distance) > 4
    elevation = np.rad2deg(np.arcsin((places[:, 1] - 0.9) / distance))
    assert elevation.min() > -11 and elevation.max() < 36 and np.ptp(elevation) > 35


def test_lights_and_clothes():
    parts, template = body.vertex_parts(), np.asarray(body.mannequin().template)
    looks = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lights = scene.draw_lights(rng)
        assert (np.linalg.norm(lights.directions, axis=1) > 0.99).all()
        assert (lights.colors > -1e-6).all() and (np.asarray(lights.ambient) > 0).all()
        colors = scene.draw_clothes(rng, parts, body.PART_NAMES, template)
        assert colors.shape == template.shape and colors.min() >= 0 and colors.max() <= 255
        looks.append([colors[parts == p].mean(0) for p in (0, body.PART_NAMES.index("shirt"))])
    spread = np.std(looks, axis=0)
    assert (spread[0] > 15).all() and (spread[1] > 30).all(), "skins and shirts differ"


@pytest.mark.parametrize("kit", scene.KITS)
def test_a_team_differs_in_skin_and_hair_alone(kit):
    parts, template = body.vertex_parts(), np.asarray(body.mannequin().template)
    looks = [
        scene.draw_kit(np.random.default_rng(seed), parts, body.PART_NAMES, template, kit)
        for seed in range(20)
    ]
    spread = {
        name: np.std([colors[parts == part].mean(0) for colors in looks], axis=0).max()
        for part, name in enumerate(body.PART_NAMES)
    }
    assert spread["skin"] > 15 and spread["hair"] > 15
    assert max(spread[name] for name in ("shirt", "sleeves", "trousers", "shoes")) < 2
    shirt = parts == body.PART_NAMES.index("shirt")
    white = shirt & (looks[0].min(axis=1) > 180)
    assert 0.1 < white.sum() / shirt.sum() < 0.5
    assert template[white, 2].max() < np.median(template[shirt, 2]), "on the back"


def test_each_half_of_a_harlequins_limb_has_a_color_of_its_own():
    parts, template = body.vertex_parts(), np.asarray(body.mannequin().template)
    rng = np.random.default_rng(0)
    colors = scene.draw_kit(rng, parts, body.PART_NAMES, template, "harlequin")
    owner = np.asarray(body.mannequin().skin_weights).argmax(axis=1)
    names = ("left_hip", "right_hip", "left_knee", "right_knee")
    names += ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow")
    halves = [np.median(colors[owner == JOINT_NAMES.index(name)], axis=0) for name in names]
    distances = np.linalg.norm(np.array(halves)[:, None] - halves, axis=-1)
    assert (distances + 1e3 * np.eye(len(halves))).min() > 40
    hands = np.abs(template[:, 0]) > 0.75
    skin = np.median(colors[(parts == 0) & (np.abs(template[:, 0]) < 0.15)], axis=0)
    assert np.abs(np.median(colors[hands], axis=0) - skin).max() < 5


def test_sensor_keeps_shape_and_repeats_itself():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    sensor = scene.Sensor(1.2, np.array([1.0, 0.9, 1.1]), 0.5, 4.0, 90)
    first, again = (sensor(image, np.random.default_rng(1)) for _ in range(2))
    assert first.shape == image.shape and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, sensor(image, np.random.default_rng(2)))
    plain = scene.Sensor(1.0, np.ones(3), 0.0, 0.0, 90)
    np.testing.assert_array_equal(plain(image, np.random.default_rng(1)), image)
