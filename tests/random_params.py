"""Parameters without compiling initialisers, which would take longer than most tests."""

import jax
import numpy as np


def random_params(init, *args, seed=0, **kwargs):
    """Gaussian values, scaled by fan-in, with the tree of `init(key, *args, **kwargs)`."""
    shapes = jax.eval_shape(lambda key, *args: init(key, *args, **kwargs), jax.random.key(0), *args)
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        gain = path[-1].key == "scale"
        scale = 0.1 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return (gain + scale * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)
