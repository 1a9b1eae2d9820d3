"""Invalid sizes of networks and clips are reported in one sentence each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.models.maed import MAED
from maed_jax.models.sizes import check_clip, check_sizes
from maed_jax.runs import config as configs
from maed_jax.runs.settings import check_settings


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("depth", 0, "at least 1, not 0"),
        ("heads", 0, "at least 1, not 0"),
        ("width", -1, "at least 1, not -1"),
        ("tree_seed", 2**32, r"at least 0 and below 2\^32, not 4294967296"),
        ("dropout", 1.0, "at least 0 and below 1, not 1.0"),
        ("dropout", -0.1, "at least 0 and below 1, not -0.1"),
        ("dropout", np.nan, "at least 0 and below 1, not nan"),
        ("stage_sizes", (), r"whole numbers .*, not \(\)"),
        ("stage_sizes", (3, -1), r"whole numbers .*, not \(3, -1\)"),
        ("stage_sizes", (1.5,), r"whole numbers .*, not \(1.5,\)"),
    ],
)
def test_what_cannot_be_is_named(name, value, says):
    check_sizes(MAED())
    says = f"^config.model.{name} must be {says}"
    clip = jax.ShapeDtypeStruct((1, 1, 224, 224, 3), jnp.float32)
    with pytest.raises(UserError, match=says):
        jax.eval_shape(MAED(**{name: value}).init, jax.random.key(0), clip, None)
    config = configs.load_config("debug", [])
    config.model[name] = value
    with pytest.raises(UserError, match=says):
        check_settings(config)


@pytest.mark.parametrize(
    "shape, says",
    [
        ((1, 2, 32, 48, 3), "32x32 pixels, not 32x48"),
        ((2, 32, 32, 3), r"clips \[b t h w 3\], not an array \[2, 32, 32, 3\]"),
        ((1, 2, 3, 32, 32), r"clips \[b t h w 3\]"),
        ((0, 2, 32, 32, 3), r"clips \[0, 2, 32, 32, 3\] are empty"),
        ((1, 0, 32, 32, 3), "are empty: give at least one frame"),
    ],
)
def test_clips_of_another_kind_are_refused(shape, says):
    with pytest.raises(UserError, match=says):
        check_clip(jnp.zeros(shape), 32)
