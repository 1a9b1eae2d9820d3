"""Backgrounds move with the world; objects in front hide what they should."""

import numpy as np
import pytest

from maed_jax.datasets.mannequins import scene, surroundings

INTRINSICS = np.array([150.0, 150.0, 79.5, 79.5])


def camera_at(angle, target=(0.0, 1.0, 0.0)):
    position = np.array([[4 * np.sin(angle), 1.0, 4 * np.cos(angle)]])
    return scene.look_at(position, np.array([target]))


def test_affine_map_of_directions():
    camera = scene.look_at(np.array([[0.0, 1.0, 4.0]]), np.array([[0.0, 1.0, 0.0]]))
    matrix = surroundings.view_matrix(camera, 0, INTRINSICS, density=300)
    np.testing.assert_allclose(matrix @ [79.5, 79.5, 1], [0, 0], atol=1e-9)
    np.testing.assert_allclose(matrix @ [79.5 + 15, 79.5 - 30, 1], [30, -60], atol=1e-9)


def test_the_background_moves_against_the_camera():
    image = np.zeros((510, 780, 3), np.uint8)
    image[200:230, 380:400] = 255
    panorama = surroundings.Panorama(image, 300, 215)

    def seen(target):
        position = np.array([[0.0, 1.0, 4.0]])
        view = panorama.view(scene.look_at(position, np.array([target])), 0, INTRINSICS, (160, 160))
        return np.argwhere(view[..., 0] > 128).mean(0)

    ahead, right, down = seen((0, 1.0, 0)), seen((0.5, 1.0, 0)), seen((0, 0.6, 0))
    assert right[1] < ahead[1] - 10 and abs(right[0] - ahead[0]) < 2
    assert down[0] < ahead[0] - 8 and abs(down[1] - ahead[1]) < 2


@pytest.mark.parametrize("level", surroundings.CLUTTER)
def test_panoramas_are_drawn_anew_and_repeat_by_seed(level):
    first, again, other = (
        surroundings.draw_panorama(np.random.default_rng(s), level, density=120) for s in (1, 1, 2)
    )
    assert first.image.dtype == np.uint8 and first.image.shape == (204, 312, 3)
    np.testing.assert_array_equal(first.image, again.image)
    assert np.abs(first.image.astype(int) - other.image).mean() > 5


def test_a_narrow_panorama_is_where_the_camera_looks():
    panorama = surroundings.draw_panorama(
        np.random.default_rng(0), density=100, width=1.0, middle=-2.0
    )
    assert panorama.image.shape == (170, 100, 3)
    image = np.zeros((170, 100, 3), np.uint8)
    image[:, 48:52] = 255
    camera = scene.look_at(np.array([[0.0, 1.0, 4.0]]), np.array([[3.0, 1.0, 1.0]]))
    panorama = surroundings.Panorama(image, 100, 71, middle=float(camera.pan[0]))
    view = panorama.view(camera, 0, INTRINSICS, (160, 160))
    assert abs(np.argwhere(view[..., 0] > 128)[:, 1].mean() - 79.5) < 2


def test_clutter_is_more_than_plain():
    def edges(level):
        images = [
            surroundings.draw_panorama(np.random.default_rng(s), level, density=150, blur=0).image
            for s in range(6)
        ]
        return np.mean([np.abs(np.diff(i.astype(int)[::4, ::4], axis=1)).mean() for i in images])

    assert edges("clutter") > 1.5 * edges("plain")


def test_shadow_is_under_the_feet():
    camera = camera_at(0.0)
    view = np.full((160, 160, 3), 200, np.uint8)
    surroundings.floor_shadow(view, camera, 0, INTRINSICS, np.array([[0.0, 0.0, 0.0]]), 0.5)
    row, column = np.argwhere(view[..., 0] == view.min()).mean(0)
    assert view.min() < 190
    # One metre below the camera's height, four metres away.
    np.testing.assert_allclose([row, column], [79.5 + 150 / 4, 79.5], atol=2)
    assert view[:60].min() == 200


@pytest.mark.parametrize("seed", range(12))
def test_occluders_hide_something_but_not_all(seed):
    rng = np.random.default_rng(seed)
    crop = np.stack([np.linspace(0, 300, 60), np.full(60, 200.0), np.full(60, 160.0)], -1)
    occluder = surroundings.draw_occluder(rng, crop)
    image = np.full((160, 160, 3), 7, np.uint8)
    hidden = [occluder.cover(image.copy(), t).mean() for t in range(0, 60, 6)]
    assert 0.01 < max(hidden) < 0.7
    cover = occluder.cover(image, 0)
    assert (image[cover == 0] == 7).all() and cover.min() >= 0 and cover.max() <= 1.001
