"""Impossible settings of networks and impossible clips are reported in one sentence each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.models.attention import MODES
from maed_jax.models.checks import DECODERS, ENCODERS, check_clip, check_network
from maed_jax.models.maed import MAED
from maed_jax.runs import config as configs
from maed_jax.runs.settings import check_settings


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("depth", 0, "at least 1, not 0"),
        ("heads", 0, "at least 1, not 0"),
        ("width", 1, "at least 2, not 1"),
        ("tree_seed", 2**32, r"at least 0 and below 2\^32, not 4294967296"),
        ("dropout", 1.0, "at least 0 and below 1, not 1.0"),
        ("dropout", -0.1, "at least 0 and below 1, not -0.1"),
        ("dropout", np.nan, "at least 0 and below 1, not nan"),
        ("stage_sizes", (), r"whole numbers .*, not \(\)"),
        ("stage_sizes", (3, -1), r"whole numbers .*, not \(3, -1\)"),
        ("stage_sizes", (1.5,), r"whole numbers .*, not \(1.5,\)"),
        ("dtype", "half", "'float32' or 'bfloat16', not 'half'"),
    ],
)
def test_impossible_values_are_named(name, value, says):
    check_network(MAED())
    says = f"^config.model.{name} must be {says}"
    clip = jax.ShapeDtypeStruct((1, 1, 224, 224, 3), jnp.float32)
    with pytest.raises(UserError, match=says):
        jax.eval_shape(MAED(**{name: value}).init, jax.random.key(0), clip, None)
    config = configs.load_config("debug", [])
    config.model[name] = value
    with pytest.raises(UserError, match=says):
        check_settings(config)


SMALL = dict(stage_sizes=(1,), width=8, dim=16, depth=1, heads=2)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"encoder": "rnn"}, f"no encoder 'rnn'; choose from {', '.join(ENCODERS)}"),
        ({"mode": "both"}, f"no mode 'both'; choose from {', '.join(MODES)}"),
        ({"decoder": "tree"}, f"no decoder 'tree'; choose from {', '.join(DECODERS)}"),
        ({"heads": 3}, "config.model.dim=16 must be a multiple of config.model.heads=3"),
        ({"encoder": "te", "heads": 5}, "config.model.dim=16 must be .* of config.model.heads=5"),
        (
            {"encoder": "cnn", "decoder": "vanilla", "heads": 5},
            "a multiple of config.model.heads=5",
        ),
        (
            {"encoder": "cnn", "stage_sizes": (3, 4, 9)},
            "ResNet-50: set config.model.stage_sizes=\\(3, 4, 6, 3\\)",
        ),
        ({"width": 48}, "config.model.width=48 leads to layers of 48 .* GroupNorm's 32 groups"),
        ({"width": 24, "stage_sizes": (1, 1)}, "width=24 leads to layers of 48 channels"),
        ({"width": 6, "stage_sizes": (1, 1)}, "width=6 leads to layers of 48 channels"),
    ],
)
def test_impossible_parts_are_named(wrong, says):
    with pytest.raises(UserError, match=says):
        check_network(MAED(**SMALL | wrong))


@pytest.mark.parametrize(
    "settings",
    [{"width": width, "stage_sizes": (1, 1, 1)} for width in (2, 4, 8, 16, 32, 64, 96)]
    + [{"width": 24}, {"width": 48, "encoder": "cnn"}, {"heads": 3, "encoder": "cnn"}],
    ids=str,
)
def test_unusual_but_possible_settings(settings):
    check_network(MAED(**SMALL | settings))


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
    clip = jax.ShapeDtypeStruct(shape, jnp.float32)
    with pytest.raises(UserError, match=says):
        check_clip(clip, 32)
    with pytest.raises(UserError, match=says):
        jax.eval_shape(MAED(**SMALL, image_size=32).init, jax.random.key(0), clip, None)
