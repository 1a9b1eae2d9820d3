"""The original's decoder weights and outputs, for testing a decoder alone."""

import jax
import jax.numpy as jnp
import numpy as np
import parity_rules as rules
from einops import rearrange

from maed_jax.body.rotations import axis_angle_from_matrix, matrix_from_6d


def original_params(decoder, dim, theirs):
    """Parameters of `decoder` by parity_rules.py; `theirs` maps layer names to the original's."""
    init = jax.eval_shape(
        lambda key: decoder.init(key, jnp.zeros(dim), None, train=False), jax.random.key(0)
    )

    def fill(path, leaf):
        layer, kind = path[-2].key, path[-1].key
        name = f"decoder.{theirs(layer)}.{'weight' if kind == 'kernel' else 'bias'}"
        return jnp.asarray(rules.weight(name, leaf.shape[::-1]).T)

    return jax.tree_util.tree_map_with_path(fill, init)


def assert_answers(regression, golden):
    """Asserts that pose, shape and camera match the original's to 1e-4 of each one's maximum."""
    rotmat = matrix_from_6d(regression.pose6d)
    pose = rearrange(axis_angle_from_matrix(rotmat), "... joints xyz -> ... (joints xyz)")
    theta = golden["theta"].reshape(-1, 85)
    for what, ours, expected in (
        ("camera", regression.camera, theta[:, :3]),
        ("pose", pose, theta[:, 3:75]),
        ("shape", regression.shape, theta[:, 75:]),
        ("rotmat", rotmat, golden["rotmat"].reshape(-1, 24, 3, 3)),
    ):
        error = np.abs(np.asarray(ours, np.float64) - expected).max() / np.abs(expected).max()
        assert error < 1e-4, f"{what}: {error:.1e} of the largest value"
