"""Invalid settings are reported in one sentence each."""

import pytest

from maed_jax.errors import UserError
from maed_jax.models import checks
from maed_jax.models.checks import ENCODERS
from maed_jax.runs import config as configs
from maed_jax.runs.settings import BOUNDS, check_settings


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
        ("data.clip_length", 0, "at least 1"),
        ("data.interval", 0, "at least 1"),
        ("data.eval_interval", 0, "at least 1"),
        ("seed", -1, r"at least 0 and below 2\^32"),
        ("seed", 2**32, r"at least 0 and below 2\^32"),
        ("eval_every", -1, "at least 0"),
        ("data.clips_per_batch", -2, "at least 0"),
        ("optimizer.clip_norm", -1.0, "at least 0"),
        ("optimizer.learning_rate", 0.0, "above 0, and finite"),
        ("optimizer.learning_rate", "nan", "above 0, and finite"),
        ("optimizer.learning_rate", "inf", "above 0, and finite"),
        ("loss.pose", "nan", "at least 0, and finite"),
        ("optimizer.l2", -1.0, "at least 0, and finite"),
        ("optimizer.decay_factor", "inf", "at least 0, and finite"),
        ("data.augment.margin", -1.3, "above 0"),
        ("data.augment.flip", "nan", "between 0 and 1"),
        ("ema", 1.0, "at least 0 and below 1"),
    ],
)
def test_bounds(key, value, says):
    with pytest.raises(UserError, match=f"config.{key} must be {says}, not {value}"):
        check_settings(settings(**{key: value}))


def test_changes_of_images_alone_are_checked_too():
    config = configs.load_config("stage2", [])
    config.data.augment_images.jitter = -1.0
    with pytest.raises(UserError, match="augment_images.jitter must be at least 0, not -1"):
        check_settings(config, resumed=True)


def test_bounds_are_of_settings_that_there_are():
    known = dict(configs.flatten(configs.defaults()))
    bounded = [name for _, _, names in BOUNDS for name in names]
    bounded += [f"model.{name}" for _, _, names in checks.BOUNDS for name in names]
    assert set(bounded) <= set(known) and len(bounded) == len(set(bounded))


def test_what_the_encoder_cannot_be_is_refused():
    with pytest.raises(UserError, match="there is no mode 'paralel'"):
        check_settings(settings(**{"model.mode": "paralel"}))


def test_an_unknown_decoder_is_refused():
    with pytest.raises(UserError, match="no decoder 'tree'; choose from ktd, "):
        check_settings(settings(**{"model.decoder": "tree"}))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("mode", ["parallel", "vanilla", "temporal"])
def test_clips_are_as_long_as_the_temporal_embedding_where_there_is_one(encoder, mode):
    embedded = encoder == "te" or (encoder == "ste" and mode == "parallel")
    for length, says in ((3, "=3 is less than .*=4: .* never trained"), (5, "=5 is more than")):
        c = settings(**{"model.encoder": encoder, "model.mode": mode, "data.clip_length": length})
        if embedded:
            with pytest.raises(UserError, match=says):
                check_settings(c)
        else:
            check_settings(c)


def test_longer_clips_where_the_embedding_is_spread_over_them():
    spread = {"model.interpolate_time": True}
    check_settings(settings(**spread, **{"data.clip_length": 5}))
    with pytest.raises(UserError, match="is less than"):
        check_settings(settings(**spread, **{"data.clip_length": 3}))


def test_without_clips_their_length_does_not_matter_but_the_embeddings_does():
    for length in (3, 5):
        changes = {"data.clips_per_batch": 0, "data.clip_length": length}
        check_settings(settings(**changes, **{"model.clip_length": 1}))
        check_settings(settings(**changes, init_from="clips"))
        check_settings(settings(**changes), resumed=True)
        with pytest.raises(UserError, match="use 4 frames: set --config.model.clip_length=1"):
            check_settings(settings(**changes))
    for clips in (0, 2):
        changes = {"data.clips_per_batch": clips, "data.clips_2d_per_batch": 2}
        with pytest.raises(UserError, match="is less than"):
            check_settings(settings(**changes, **{"data.clip_length": 3}))


def test_an_earlier_stage_may_be_required():
    required = {"init_required": True}
    with pytest.raises(UserError, match="give its work directory with --config.init_from=DIR"):
        check_settings(settings(**required))
    check_settings(settings(**required), resumed=True)
    check_settings(settings(**required, init_from="DIR"))
