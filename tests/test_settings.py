"""Settings that cannot be, each named in one sentence."""

import pytest

from maed_jax.errors import UserError
from maed_jax.training import config as configs
from maed_jax.training.settings import BOUNDS, check_settings


def settings(spec="debug", **changes):
    overrides = [f"--config.{key}={value}" for key, value in changes.items()]
    return configs.load_config(spec, overrides)


@pytest.mark.parametrize(
    "spec",
    ["debug", "debug:stage1", "demo", "demo:stage1", "demo:stage2"]
    + ["stage1", "stage2", "stage2:no_3dpw"],
)
def test_every_configuration_can_be(spec):
    check_settings(settings(spec), resumed=True)


@pytest.mark.parametrize(
    "key, value, says",
    [
        ("steps", 0, "at least 1"),
        ("max_skipped", 0, "at least 1"),
        ("log_every", 0, "at least 1"),
        ("model.depth", 0, "at least 1"),
        ("model.heads", 0, "at least 1"),
        ("data.clip_length", 0, "at least 1"),
        ("data.interval", 0, "at least 1"),
        ("data.eval_interval", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("model.tree_seed", -1, "at least 0"),
        ("eval_every", -1, "at least 0"),
        ("data.clips_per_batch", -2, "at least 0"),
        ("optimizer.clip_norm", -1.0, "at least 0"),
        ("optimizer.learning_rate", 0.0, "above 0"),
        ("optimizer.learning_rate", "nan", "above 0"),
        ("model.dropout", 1.0, "at least 0 and below 1"),
        ("model.dropout", -0.1, "at least 0 and below 1"),
        ("ema", 1.0, "at least 0 and below 1"),
    ],
)
def test_bounds(key, value, says):
    with pytest.raises(UserError, match=f"config.{key} must be {says}, not {value}"):
        check_settings(settings(**{key: value}))


def test_bounds_are_of_settings_that_there_are():
    known = dict(configs.flatten(configs.defaults()))
    bounded = [name for _, _, names in BOUNDS for name in names]
    assert set(bounded) <= set(known) and len(bounded) == len(set(bounded))


def test_decoders_for_inference_alone_are_refused():
    with pytest.raises(UserError, match="no decoder 'folded'; choose from ktd, "):
        check_settings(settings(**{"model.decoder": "folded"}))


def test_an_earlier_stage_may_be_required():
    required = {"init_required": True}
    with pytest.raises(UserError, match="name its work directory with --config.init_from=DIR"):
        check_settings(settings(**required))
    check_settings(settings(**required), resumed=True)
    check_settings(settings(**required, init_from="DIR"))
