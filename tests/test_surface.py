import numpy as np

from maed_jax.body.surface import Surface, strongest_weights


def test_normals_of_an_octahedron_point_to_its_corners():
    verts = np.concatenate([np.eye(3), -np.eye(3)])
    signs = [(x, y, z) for x in (0, 3) for y in (0, 3) for z in (0, 3)]
    faces = np.array([(x, 1 + y, 2 + z) for x, y, z in signs])
    odd = np.sum(np.array(signs) > 0, axis=1) % 2 == 1  # mirrored: reversed orientation
    faces[odd] = faces[odd, ::-1]
    surface = Surface(faces, len(verts))
    np.testing.assert_allclose(surface.normals(3 * verts), verts, atol=1e-6)
    shift, no_size = np.array([5, 0, 2]), 0 * verts
    np.testing.assert_allclose(surface.normals(verts + shift), verts, atol=1e-6)
    np.testing.assert_array_equal(surface.normals(no_size), no_size)


def test_the_strongest_joints_stay():
    weights = np.zeros((2, 24))
    weights[0, [3, 5, 7, 9, 11]] = [0.1, 0.3, 0.2, 0.35, 0.05]
    weights[1, 8] = 1
    joints, strength = strongest_weights(weights)
    assert joints[0].tolist() == [9, 5, 7, 3] and joints[1].tolist() == [8, 0, 0, 0]
    np.testing.assert_allclose(strength[0] * 0.95, [0.35, 0.3, 0.2, 0.1], rtol=1e-5)
    np.testing.assert_allclose(strength[1], [1, 0, 0, 0])
