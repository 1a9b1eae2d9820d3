"""The renderer puts pixels exactly where our own projection does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyvista")
from maed_jax.data.pixels import project
from maed_jax.errors import UserError
from maed_jax.visual.render import Lights, Renderer, composite, shade

# A tetrahedron; vertex order is irrelevant to the tests.
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
TETRA = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32) - 0.25


def sphere(centre, radius, n=24):
    """Latitude-longitude sphere: verts [v 3], faces [f 3]."""
    theta = np.linspace(0, np.pi, n + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, 2 * n, endpoint=False)[None]
    verts = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1
    ).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(n), np.arange(2 * n), indexing="ij")
    k = (j + 1) % (2 * n)
    a, b, c, d = i * 2 * n + j, i * 2 * n + k, (i + 1) * 2 * n + j, (i + 1) * 2 * n + k
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)
    return (verts * radius + centre).astype(np.float32), faces


@pytest.fixture(scope="module")
def renderer():
    with Renderer((96, 128)) as renderer:
        yield renderer


@pytest.mark.parametrize(
    "centre, intrinsics",
    [
        ((0.0, 0.0, 3.0), (150.0, 150.0, 63.5, 47.5)),
        ((0.4, -0.2, 2.0), (100.0, 140.0, 50.0, 60.0)),
        ((-1.0, 0.6, 5.0), (180.0, 170.0, 90.0, 20.0)),
        ((3.0, 0.0, 6.0), (120.0, 120.0, -10.0, 47.0)),  # the principal point is outside the image
    ],
)
def test_small_spheres_appear_where_they_project(renderer, centre, intrinsics):
    verts, faces = sphere(np.array(centre), 0.02 * centre[2])
    _, alpha = renderer.render(verts, faces, (255, 255, 255), np.array(intrinsics))
    v, u = np.nonzero(alpha)
    weight = alpha[v, u].astype(float)
    found = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(found, project(np.array(centre), intrinsics), atol=0.15)


def test_silhouette_matches_projection(renderer):
    intrinsics = np.array([160.0, 150.0, 60.0, 50.0])
    verts, faces = sphere(np.array([0.1, 0.05, 2.5]), 0.6, n=48)
    _, alpha = renderer.render(verts, faces, (255, 0, 0), intrinsics)
    v, u = np.nonzero(alpha > 127)
    pixels = project(verts, intrinsics)
    assert abs(u.min() - pixels[:, 0].min()) <= 1 and abs(u.max() - pixels[:, 0].max()) <= 1
    assert abs(v.min() - pixels[:, 1].min()) <= 1 and abs(v.max() - pixels[:, 1].max()) <= 1


def test_nearer_mesh_hides_farther(renderer):
    intrinsics = np.array([150.0, 150.0, 63.5, 47.5])
    near, faces = sphere(np.array([0, 0, 2.0]), 0.2)
    far, other = sphere(np.array([0, 0, 4.0]), 1.0)
    light = Lights(np.array([[0, 0, -1.0]]), np.zeros((1, 3)), (1, 1, 1))
    for order in (slice(None), slice(None, None, -1)):
        rgb, _ = renderer.render(
            [far, near][order], [other, faces][order], [(0, 0, 255), (255, 0, 0)][order],
            intrinsics, light,
        )  # fmt: skip
        np.testing.assert_array_equal(rgb[48, 64], (255, 0, 0))
        np.testing.assert_array_equal(rgb[48, 90], (0, 0, 255))


@pytest.mark.parametrize("window", [(0, 0, 128, 96), (40, 30, 90, 71), (127, 95, 128, 96)])
def test_a_window_shows_its_part_of_the_image(renderer, window):
    intrinsics = np.array([160.0, 150.0, 60.0, 50.0])
    verts, faces = sphere(np.array([0.1, 0.05, 2.5]), 0.6)
    whole = renderer.render(verts, faces, (200, 100, 50), intrinsics)
    part = renderer.render(verts, faces, (200, 100, 50), intrinsics, window=window)
    left, top, right, bottom = window
    for a, b in zip(whole, part):
        np.testing.assert_allclose(a[top:bottom, left:right].astype(int), b, atol=2)


def test_new_meshes_and_moved_ones_replace_the_last(renderer):
    intrinsics = np.array([150.0, 150.0, 63.5, 47.5])
    verts, faces = sphere(np.array([0, 0, 3.0]), 0.3)
    first = renderer.render(verts, faces, (200, 200, 200), intrinsics)
    moved = renderer.render(verts + (0.5, 0, 0), faces, (200, 200, 200), intrinsics)
    renderer.render(TETRA + (0, 0, 3), FACES, (0, 255, 0), intrinsics)
    again = renderer.render(verts, faces, (200, 200, 200), intrinsics)
    assert not np.array_equal(first[0], moved[0])
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_shading():
    lights = Lights(np.array([[0, -2.0, 0]]), np.array([[1.0, 0.5, 0]]), (0.1, 0.1, 0.1))
    up, down = shade(np.array([[0, -1.0, 0], [0, 1, 0]]), np.full((2, 3), 100.0), lights)
    np.testing.assert_array_equal(up, (110, 60, 10))
    np.testing.assert_array_equal(down, (10, 10, 10))


def test_composite():
    background = np.full((2, 2, 3), 200, np.uint8)
    rgb = np.array([[[0, 0, 0], [90, 80, 70]], [[45, 40, 35], [255, 255, 255]]], np.uint8)
    alpha = np.array([[0, 255], [128, 255]], np.uint8)
    out = composite(background, rgb, alpha)
    np.testing.assert_array_equal(out[0, 0], (200, 200, 200))
    np.testing.assert_array_equal(out[0, 1], (90, 80, 70))
    np.testing.assert_allclose(out[1, 0], np.array([45, 40, 35]) + 200 * 127 / 255, atol=1)
    np.testing.assert_array_equal(out[1, 1], (255, 255, 255))


def test_without_pyvista_there_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(UserError, match=r"pip install '.\[viz\]'"):
        Renderer(64)


def test_nothing_is_said_on_stderr():
    script = (
        "import numpy as np; from maed_jax.visual.render import Renderer; r = Renderer(32);"
        "v = np.eye(3, dtype=np.float32) + [0, 0, 3];"
        "r.render(v, np.array([[0, 1, 2]]), (9, 9, 9), np.array([30., 30, 16, 16]))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stderr == "" and done.stdout == ""
