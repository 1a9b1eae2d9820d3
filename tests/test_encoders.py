import jax
import pytest

from maed_jax.errors import UserError
from maed_jax.models.attention import MODES
from maed_jax.models.encoders import ENCODERS, check_encoder, has_time_embedding, make_encoder
from maed_jax.models.maed import MAED

SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1,), width=8, dim=16, depth=1, heads=2,
    feature_dim=12, decoder_width=16,
)  # fmt: skip


@pytest.mark.parametrize(
    "settings, dim",
    [({"encoder": "ste", "mode": mode}, 12) for mode in MODES]
    + [({"encoder": "te"}, 12), ({"encoder": "cnn"}, 32)],
)
def test_every_encoder_by_its_name(settings, dim):
    model = MAED(**SMALL, **settings)
    clip = jax.ShapeDtypeStruct((2, 3, 32, 32, 3), "float32")

    def run(clip):
        return model.init_with_output(jax.random.key(0), clip, None, method="regress")

    (feature, regression), variables = jax.eval_shape(run, clip)
    assert feature.shape == (2, 3, dim) and regression.pose6d.shape == (2, 3, 24, 6)
    assert ("batch_stats" in variables) == (settings["encoder"] == "cnn")
    assert set(variables) <= {"params", "batch_stats"}


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"encoder": "rnn"}, f"no encoder 'rnn'; choose from {', '.join(ENCODERS)}"),
        ({"mode": "both"}, f"no mode 'both'; choose from {', '.join(MODES)}"),
        ({"heads": 3}, "config.model.dim=16 must be a multiple of config.model.heads=3"),
        (
            {"encoder": "te", "heads": 5},
            "config.model.dim=16 must be a multiple of config.model.heads=5",
        ),
        (
            {"encoder": "cnn", "stage_sizes": (3, 4, 9)},
            "ResNet-50: set config.model.stage_sizes=\\(3, 4, 6, 3\\)",
        ),
        (
            {"width": 48},
            "config.model.width=48 leads to layers of 48 channels, .* GroupNorm's 32 groups",
        ),
        ({"width": 24, "stage_sizes": (1, 1)}, "width=24 leads to layers of 48 channels"),
        ({"width": 6, "stage_sizes": (1, 1)}, "width=6 leads to layers of 48 channels"),
    ],
)
def test_what_cannot_be_is_named(wrong, says):
    with pytest.raises(UserError, match=says):
        make_encoder(MAED(**SMALL | wrong))


@pytest.mark.parametrize(
    "settings",
    [{"width": width, "stage_sizes": (1, 1, 1)} for width in (1, 2, 4, 8, 16, 32, 64, 96)]
    + [{"width": 24}, {"width": 48, "encoder": "cnn"}],
    ids=str,
)
def test_widths_that_divide_into_groups(settings):
    check_encoder(MAED(**SMALL | settings))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("mode", MODES)
def test_which_encoders_have_a_temporal_embedding(encoder, mode):
    model = MAED(**SMALL, encoder=encoder, mode=mode)
    clip = jax.ShapeDtypeStruct((1, 1, 32, 32, 3), "float32")
    variables = jax.eval_shape(
        lambda clip: make_encoder(model).init(jax.random.key(0), clip, train=False), clip
    )
    assert has_time_embedding(model) == ("time_embedding" in variables["params"])


@pytest.mark.parametrize("encoder", ["ste", "te"])
def test_longer_clips_by_the_models_option(encoder):
    clip = jax.ShapeDtypeStruct((1, 6, 32, 32, 3), "float32")
    for interpolate in (True, False):
        model = MAED(**SMALL, encoder=encoder, interpolate_time=interpolate)

        def run(clip, model=model):
            return model.init_with_output(jax.random.key(0), clip, None, method="regress")[0]

        if interpolate:
            assert jax.eval_shape(run, clip)[0].shape == (1, 6, 12)
        else:
            with pytest.raises(UserError, match="6 frames is longer than the 4"):
                jax.eval_shape(run, clip)
