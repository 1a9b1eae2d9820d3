import dataclasses

import jax
import numpy as np
import pytest
from small_videos import figure_images, write_video
from test_attention_maps import SMALL, estimator

from maed_jax.body.mannequin import mannequin
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.inference import person_attention
from maed_jax.inference.attention_maps import attention_maps
from maed_jax.inference.person_attention import (
    Attention,
    attention_of_tracks,
    load_attention,
    save_attention,
)
from maed_jax.inference.track import Track
from maed_jax.inference.video import open_video
from maed_jax.models.maed import MAED

T = SMALL["clip_length"]


def attention_shapes(**settings):
    model = MAED(**SMALL | {"decoder": "ktd"} | settings)
    clip = jax.ShapeDtypeStruct((1, T, 32, 32, 3), np.float32)
    variables = jax.eval_shape(
        lambda key, x: model.init(key, x, None, method="regress"), jax.random.key(0), clip
    )
    return person_attention.attention_shapes(Estimator(model, variables, mannequin()))


SPACE, TIME, GATES, JOINTS = (
    ("space", (3, 8, 8)),
    ("time", (3, T)),
    ("gates", (3, 4)),
    ("joints", (24, 24)),
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mode": "parallel"}, {SPACE, TIME, GATES, JOINTS}),
        ({"mode": "series", "decoder": "vanilla"}, {SPACE, TIME}),
        ({"mode": "coupling"}, {SPACE, TIME, JOINTS}),
        ({"mode": "vanilla"}, {SPACE, JOINTS}),
        ({"mode": "temporal"}, {TIME, JOINTS}),
        ({"encoder": "te"}, {TIME, JOINTS}),
        ({"encoder": "cnn", "stage_sizes": (1,)}, {JOINTS}),
    ],
)  # fmt: skip
def test_every_model_shows_what_it_has(settings, expected):
    assert set(attention_shapes(**settings).items()) == expected


def test_nothing_to_show():
    with pytest.raises(UserError, match="'cnn' with the decoder 'vanilla' has no attention"):
        attention_shapes(encoder="cnn", stage_sizes=(1,), decoder="vanilla")


@pytest.mark.parametrize("mode", ["parallel", "coupling"])
def test_weights_are_means_over_heads_of_token_0(mode):
    e = estimator(mode)
    clip = jax.random.normal(jax.random.key(1), (2, 3, 32, 32, 3))
    found = person_attention._attention(e.model, e.variables, e.body, clip)
    maps = attention_maps(e, clip)
    if mode == "parallel":
        space = maps.space[:, :, :, :, 0, 1:].mean(3).transpose(1, 2, 0, 3)
        time = maps.time[:, :, 0].mean(2).transpose(1, 2, 0, 3)
        np.testing.assert_allclose(
            found["gates"][1, 2, 0], maps.gates[0, 1, 2].reshape(4, 4).mean(-1), atol=1e-6
        )
    else:
        joint = maps.joint[:, :, :, :, 0].mean(2).transpose(1, 2, 0, 3, 4)
        space, time = joint[..., 1:].sum(-2), joint.sum(-1)
        np.testing.assert_allclose(time.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found["space"].reshape(space.shape), space, atol=1e-6)
    np.testing.assert_allclose(found["time"], time, atol=1e-6)


def track(frames, id=1):
    n = len(frames)
    boxes = np.tile(np.float32([40, 32, 30, 60]), (n, 1))
    return Track(id, np.array(frames), boxes, np.ones(n, bool), np.ones(n, np.float32))


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    images = figure_images([[(30 + 2 * i, 32)] for i in range(10)], (64, 80), 60)
    return open_video(write_video(tmp_path_factory.mktemp("videos") / "walk.mp4", images))


def test_every_frame_of_every_track(walk, tmp_path):
    tracks = [track(range(10)), track([2, 3, 4], id=7)]
    attentions = attention_of_tracks(walk, tracks, estimator(), num_frames=10, batch=2)
    assert [a.id for a in attentions] == [1, 7]
    for a, t in zip(attentions, tracks):
        n = len(t.frames)
        np.testing.assert_array_equal(a.frames, t.frames)
        assert a.space.shape == (n, 3, 8, 8) and a.space.dtype == np.float16
        assert (a.space >= 0).all() and (a.space.sum((-1, -2)) < 1.002).all()
        np.testing.assert_allclose(a.time.sum(-1, dtype=np.float32), 1, atol=5e-3)
        assert all(frame in row for frame, row in zip(a.frames, a.clip_frames))
        assert np.isin(a.clip_frames, t.frames).all()
        save_attention(tmp_path / "a.npz", a)
        back = load_attention(tmp_path / "a.npz")
        for field in dataclasses.fields(Attention):
            np.testing.assert_array_equal(getattr(back, field.name), getattr(a, field.name))


def test_clips_are_those_of_the_evaluation(walk):
    sparse = dataclasses.replace(estimator(), interval=2)
    (a,) = attention_of_tracks(walk, [track(range(8))], sparse, num_frames=8)
    assert (np.diff(a.clip_frames) == 2).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.write_bytes(b"hello"), "is not an attention file"),
        (lambda path: np.savez(path, format=1, id=1), "is not an attention file"),
        (lambda path: np.savez(path, format=99, id=1), "newer than 1"),
    ],
)
def test_other_files_are_refused(tmp_path, make, message):
    path = tmp_path / "attention_1.npz"
    make(path)
    with pytest.raises(UserError, match=message):
        load_attention(path)


def test_attention_is_written_only_on_request(walk, tmp_path):
    from maed_jax.inference.boxes_file import read_boxes
    from maed_jax.prediction.predict import Options, predict_to

    np.savez(tmp_path / "boxes.npz", frames=np.arange(10), boxes=track(range(10)).boxes)
    boxes = read_boxes(tmp_path / "boxes.npz")
    out = tmp_path / "out"
    options = Options(boxes=boxes, batch=2, overlay=False, attention=True)
    content = predict_to(out, walk, estimator(), options)
    assert content["attention"] == ["attention_1.npz"]
    np.testing.assert_array_equal(load_attention(out / "attention_1.npz").frames, np.arange(10))
    content = predict_to(out, walk, estimator(), dataclasses.replace(options, attention=False))
    assert content["attention"] == [] and not list(out.glob("attention*"))
