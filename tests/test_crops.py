"""Bodies over crops: where the crop's camera sees them."""

import numpy as np
import pytest

from maed_jax.body.camera import project
from maed_jax.body.mannequin import mannequin

pytest.importorskip("pyvista")
from maed_jax.visual.crops import draw_crops

SIDE = 96


def test_a_body_covers_what_its_camera_sees():
    body = mannequin()
    verts = np.asarray(body.template) * [1, -1, -1]  # upright in front of a camera
    verts = np.stack([verts] * 3).astype(np.float32)
    camera = np.array([[0.8, 0.1, 0.2], [-0.8, 0, 0], [0.8, np.nan, 0]], np.float32)
    crops = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    drawn = draw_crops(crops, verts, camera, np.asarray(body.faces))
    assert not crops.any() and not drawn[1:].any()  # behind the camera, and not finite

    rows, columns = np.nonzero(drawn[0].sum(-1) > 100)
    pixels = (np.asarray(project(verts[:1], camera[:1]))[0] + 1) / 2 * SIDE
    low, high = pixels.min(0).clip(0), pixels.max(0).clip(max=SIDE - 1)
    np.testing.assert_allclose([columns.min(), rows.min()], low, atol=1.5)
    np.testing.assert_allclose([columns.max(), rows.max()], high, atol=1.5)
