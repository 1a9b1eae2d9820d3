"""Bodies over an image: which are drawn, and how transparent they are."""

import numpy as np
import pytest

from maed_jax.body.mannequin import mannequin

pytest.importorskip("pyvista")
from maed_jax.visual.bodies import draw_bodies
from maed_jax.visual.render import Renderer

SIDE, GREY = 80, 200
LENS = np.array([100.0, 100, SIDE / 2, SIDE / 2])


def standing(x=0.0, z=3.0):
    """Vertices of somebody upright in front of the camera."""
    verts = np.asarray(mannequin().template) * [1, -1, -1] + [x, 0, z]
    return verts.astype(np.float32)


def draw(bodies, lens=LENS, opacity=1.0):
    image = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    faces = np.asarray(mannequin().faces)
    with Renderer(SIDE) as renderer:
        draw_bodies(image, bodies, faces, [(0, 0, 255)] * len(bodies), lens, renderer, opacity)
    return image


def covered(image):
    return image[..., 0] < GREY - 50


def test_people_behind_the_camera_or_outside_the_image_are_left_out():
    nowhere = np.full_like(standing(), np.nan)
    missing = [standing(z=-3), standing(z=0.1), nowhere, standing(x=9)]
    assert not covered(draw(missing)).any() and not covered(draw([])).any()
    np.testing.assert_array_equal(draw([*missing, standing()]), draw([standing()]))


def test_people_far_away_are_drawn_too():
    """Everything is 400 times as far, seen through a lens 400 times as long."""
    far = draw([standing() + np.float32([0, 0, 1197])], LENS * [400, 400, 1, 1])
    assert covered(far).sum() == pytest.approx(covered(draw([standing()])).sum(), rel=0.1)


def test_the_image_shows_through():
    half = draw([standing()], opacity=0.5).astype(float)
    np.testing.assert_allclose(half, (draw([standing()]) + float(GREY)) / 2, atol=1.5)
