import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from maed_jax.body import rotations

AXES = np.concatenate([np.eye(3), -np.eye(3), [[1, 1, 1], [1, -2, 0.5], [-0.3, 0.2, -1]]])
AXES = AXES / np.linalg.norm(AXES, axis=-1, keepdims=True)
NEAR_PI = (np.pi, np.pi - 1e-7, np.pi - 1e-4, np.pi - 1e-2)
ANGLES = (0.0, 1e-12, 1e-7, 1e-4, 5e-3, 1.1e-2, 0.1, 1.0, 2.0, 3.0, *NEAR_PI)

# One program per shape; `test_any_leading_axes_jit_and_vmap` also runs them without jit.
matrix_from_6d = jax.jit(rotations.matrix_from_6d)
matrix_from_axis_angle = jax.jit(rotations.matrix_from_axis_angle)
axis_angle_from_matrix = jax.jit(rotations.axis_angle_from_matrix)


@pytest.fixture(scope="module")
def vectors(golden_dir):
    with np.load(golden_dir / "smpl_geometry.npz") as arrays:
        return dict(arrays)


def sixd_from_matrix(matrix):
    """Rotation matrices [... 3 3] to 6D [... 6]: the first two columns, row by row."""
    return matrix[..., :2].reshape(*matrix.shape[:-2], 6)


def angle_between(a, b):
    """Angles [...] between rotation matrices, radians, in float64."""
    relative = np.asarray(a, np.float64).reshape(-1, 3, 3).swapaxes(-1, -2) @ np.asarray(
        b, np.float64
    ).reshape(-1, 3, 3)
    skew = relative - relative.swapaxes(-1, -2)
    sine = np.sqrt(skew[:, 0, 1] ** 2 + skew[:, 0, 2] ** 2 + skew[:, 1, 2] ** 2) / 2
    return np.arctan2(sine, (np.trace(relative, axis1=1, axis2=2) - 1) / 2)


def test_6d_as_the_original(vectors):
    matrices = matrix_from_6d(vectors["rot6d"].reshape(-1, 6))
    np.testing.assert_allclose(matrices, vectors["rotmat"], atol=1e-5)


def test_axis_angle_as_the_original(vectors):
    matrices = matrix_from_axis_angle(vectors["axis_angle"])
    np.testing.assert_allclose(matrices, vectors["rodrigues"], atol=1e-5)
    back = axis_angle_from_matrix(vectors["rodrigues"])
    np.testing.assert_allclose(back, vectors["back"], atol=1e-4)


def test_6d_there_and_back():
    matrices = Rotation.random(200, random_state=0).as_matrix().astype(np.float32)
    sixd = sixd_from_matrix(matrices)
    np.testing.assert_array_equal(sixd[0], matrices[0][:, :2].ravel())
    np.testing.assert_allclose(matrix_from_6d(sixd), matrices, atol=1e-6)
    # The lengths, and the component of the second vector along the first, do not matter.
    a, b = sixd[:, 0::2], sixd[:, 1::2]
    skewed = jnp.stack([3 * a, 0.5 * b - 2 * a], axis=-1).reshape(-1, 6)
    np.testing.assert_allclose(matrix_from_6d(skewed), matrices, atol=2e-6)


@examples(25)
@given(st.integers(0, 2**32 - 1))
def test_the_whole_sphere_against_scipy(seed):
    rng = np.random.default_rng(seed)
    axes = rng.standard_normal((64, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    angle = np.pi * np.concatenate(
        [rng.uniform(0, 1, 32), 10 ** rng.uniform(-9, -1, 16), 1 - 10 ** rng.uniform(-9, -1, 16)]
    )
    true = Rotation.from_rotvec(axes * angle[:, None])
    matrices = matrix_from_axis_angle((axes * angle[:, None]).astype(np.float32))
    assert angle_between(matrices, true.as_matrix()).max() < 1e-6
    found = axis_angle_from_matrix(true.as_matrix().astype(np.float32))
    assert np.linalg.norm(found, axis=-1).max() <= np.pi + 1e-6
    recovered = Rotation.from_rotvec(np.asarray(found, np.float64)).as_matrix()
    assert angle_between(recovered, true.as_matrix()).max() < 2e-6


@examples(25)
@given(st.integers(0, 2**32 - 1))
def test_products_and_inverses_are_scipys(seed):
    a, b = (Rotation.random(64, random_state=(seed + i) % 2**32) for i in range(2))
    one, other = (matrix_from_axis_angle(r.as_rotvec().astype(np.float32)) for r in (a, b))
    assert angle_between(one @ other, (a * b).as_matrix()).max() < 2e-6
    back = axis_angle_from_matrix(one @ other)
    recovered = Rotation.from_rotvec(np.asarray(back, np.float64)).as_matrix()
    assert angle_between(recovered, (a * b).as_matrix()).max() < 4e-6
    inverse = matrix_from_axis_angle(-a.as_rotvec().astype(np.float32))
    np.testing.assert_allclose(inverse, one.swapaxes(-1, -2), atol=1e-6)


@examples(25)
@given(st.integers(0, 2**32 - 1), st.floats(-4, 6))
def test_6d_of_any_length_is_a_rotation(seed, magnitude):
    sixd = np.random.default_rng(seed).standard_normal((64, 6)).astype(np.float32)
    found = np.asarray(matrix_from_6d(sixd * np.float32(10**magnitude)), np.float64)
    # The closer the two vectors are to collinear, the fewer accurate digits the second axis has.
    a, b = sixd[:, 0::2], sixd[:, 1::2]
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    digits = 1e-6 * np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) / cross
    error = np.abs(found @ found.swapaxes(-1, -2) - np.eye(3)).max((-2, -1))
    assert (error < digits).all() and (np.abs(np.linalg.det(found) - 1) < 3 * digits).all()
    again = matrix_from_6d(sixd_from_matrix(found.astype(np.float32)))
    assert (np.abs(again - found).max((-2, -1)) < 3 * digits).all()


def test_special_angles():
    vectors = np.stack([AXES * angle for angle in ANGLES])
    true = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)
    matrices = matrix_from_axis_angle(vectors.astype(np.float32))
    assert angle_between(matrices, true).max() < 1e-6
    found = np.asarray(axis_angle_from_matrix(true.astype(np.float32)))
    recovered = Rotation.from_rotvec(found.reshape(-1, 3).astype(np.float64)).as_matrix()
    assert angle_between(recovered, true).max() < 1e-6
    unambiguous = np.array(ANGLES) < 3.1  # at pi there are two axes
    np.testing.assert_allclose(found[unambiguous], vectors[unambiguous], atol=1e-6)


def test_gradients_are_finite_and_right():
    vectors = jnp.asarray(np.stack([AXES * angle for angle in ANGLES]), jnp.float32).reshape(-1, 3)
    jacobian = jax.jit(jax.vmap(jax.jacrev(rotations.matrix_from_axis_angle)))(vectors)
    assert np.isfinite(jacobian).all()
    matrices = matrix_from_axis_angle(vectors)
    inverse = jax.jit(jax.vmap(jax.jacrev(rotations.axis_angle_from_matrix)))(matrices)
    assert np.isfinite(inverse).all()
    # The derivative of the round trip is the identity, except for the jump at pi.
    product = np.einsum("nkij,nijl->nkl", inverse, jacobian)[: len(AXES) * len(ANGLES[:-4])]
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-3)


def test_gradient_at_zero_is_that_of_a_small_rotation():
    jacobian = jax.jit(jax.jacrev(rotations.matrix_from_axis_angle))(jnp.zeros(3))
    expected = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        expected[i, j, k], expected[j, i, k] = -1, 1
    np.testing.assert_allclose(jacobian, expected, atol=1e-7)


@jax.jit
@jax.vmap
@jax.value_and_grad
def there_and_back_again(sixd):
    matrix = matrix_from_6d(sixd)
    return jnp.sum(matrix**2) + jnp.sum(axis_angle_from_matrix(matrix) ** 2)


def test_degenerate_6d():
    sixd = jnp.asarray(
        [
            [0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, -2, 0.5, -1, 0.25, -0.5],
            [1e-7, 0, 0, 1e-7, 0, 0], [0, 1, 0, 0, 0, 0], [1e18, 0, 0, 1e18, 0, 0],
        ],
        jnp.float32,
    )  # fmt: skip

    value, gradient = there_and_back_again(sixd)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()


@given(arrays(np.float32, (6, 6), elements=st.floats(-(2.0**60), 2.0**60, width=32)))
def test_nothing_given_as_6d_is_fatal(sixd):
    value, gradient = there_and_back_again(sixd)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()


def test_matrices_that_are_no_rotations_give_finite_numbers():
    matrices = [np.zeros((3, 3)), -np.eye(3), np.ones((3, 3)), 1e-4 * np.eye(3)]
    matrices = jnp.asarray(np.stack(matrices), jnp.float32)
    gradient = jax.jit(jax.grad(lambda m: jnp.sum(axis_angle_from_matrix(m))))(matrices)
    assert np.isfinite(axis_angle_from_matrix(matrices)).all()
    assert np.isfinite(gradient).all()


def test_any_leading_axes_jit_and_vmap():
    vectors = np.random.default_rng(0).standard_normal((2, 3, 4, 3)).astype(np.float32)
    matrices = rotations.matrix_from_axis_angle(vectors)
    assert matrices.shape == (2, 3, 4, 3, 3)
    flat = rotations.matrix_from_axis_angle(vectors.reshape(-1, 3))
    np.testing.assert_array_equal(matrices.reshape(-1, 3, 3), flat)
    there_and_back = lambda v: rotations.axis_angle_from_matrix(  # noqa: E731
        rotations.matrix_from_6d(sixd_from_matrix(rotations.matrix_from_axis_angle(v)))
    )
    plain = there_and_back(vectors)
    np.testing.assert_allclose(jax.jit(there_and_back)(vectors), plain, atol=1e-5)
    mapped = jax.jit(jax.vmap(jax.vmap(there_and_back)))(vectors)
    np.testing.assert_allclose(mapped, plain, atol=1e-5)


def test_quaternions():
    true = Rotation.random(100, random_state=1)
    found = rotations.quaternion_from_matrix(true.as_matrix().astype(np.float32))
    expected = true.as_quat(canonical=True)[:, [3, 0, 1, 2]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(rotations.matrix_from_quaternion(found), true.as_matrix(), atol=1e-6)


@pytest.mark.parametrize("angle", [1e-6, 1e-3, 1.99e-2, 2.01e-2, 0.1])
def test_small_angles_keep_all_their_digits(angle):
    """On both sides of the limits of the series, whose last terms matter in float32."""
    vectors = AXES * angle
    quaternions = Rotation.from_rotvec(vectors).as_quat()[:, [3, 0, 1, 2]]
    found = rotations.axis_angle_from_quaternion(jnp.asarray(quaternions, jnp.float32))
    assert np.abs(found - vectors).max() < 5e-7 * angle
    found = rotations.quaternion_from_axis_angle(jnp.asarray(vectors, jnp.float32))
    assert np.abs(found - quaternions)[:, 1:].max() < 5e-7 * angle
