import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.inference.attention_maps import attention_maps
from maed_jax.models import attention
from maed_jax.models.attention import MODES
from maed_jax.models.maed import MAED

SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1,), width=4, dim=16, depth=3, heads=4,
    feature_dim=12, decoder_width=16, decoder="iterative",
)  # fmt: skip
B, T, N = 2, 3, 1 + 8 * 8


def clip(t=T):
    return jax.random.normal(jax.random.key(0), (B, t, 32, 32, 3))


@functools.cache
def estimator(mode="parallel", encoder="ste"):
    model = MAED(**SMALL, mode=mode, encoder=encoder)
    variables = random_params(model.init, clip(), None, method="regress")
    return Estimator(model, variables, mannequin())


SHAPES = {
    "parallel": {"space": (B, T, 4, N, N), "time": (B, N, 4, T, T), "gates": (B, T, 16)},
    "parallel_v1": {"space": (B, T, 4, N, N), "time": (B, N, 4, T, T)},
    "series": {"space": (B, T, 4, N, N), "time": (B, N, 4, T, T)},
    "coupling": {"joint": (B, 4, T, N, T, N)},
    "vanilla": {"space": (B, T, 4, N, N)},
    "temporal": {"time": (B, 1, 4, T, T)},
}


def shapes(maps):
    arrays = {name: getattr(maps, name) for name in ("space", "time", "joint", "gates")}
    return {name: array.shape[1:] for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_what_it_has(mode):
    maps = attention_maps(estimator(mode), clip(), blocks=(-3, -1))
    assert shapes(maps) == SHAPES[mode]
    assert (maps.blocks, maps.heads, maps.mode) == ((0, 2), (0, 1, 2, 3), mode)
    for name, keys in (("space", -1), ("time", -1), ("joint", (-2, -1))):
        if (weights := getattr(maps, name)) is not None:
            assert len(weights) == 2
            np.testing.assert_allclose(weights.sum(keys), 1.0, rtol=1e-5)


def test_te_only_has_time_and_cnn_nothing():
    maps = attention_maps(estimator(encoder="te"), clip())
    assert shapes(maps) == SHAPES["temporal"] and (maps.encoder, maps.mode) == ("te", "temporal")
    with pytest.raises(UserError, match="'cnn' has no attention"):
        attention_maps(estimator(encoder="cnn"), clip())


def test_maps_are_the_weights_of_the_chosen_blocks():
    """Block 0 is recomputed from the tokens that enter it; a selection is a part of the whole."""
    e = estimator()
    maps = attention_maps(e, clip())

    def capture(module, method):
        return module.name == "norm1"

    apply = jax.jit(
        lambda v, x: e.model.apply(v, x, e.body, method="regress", capture_intermediates=capture)
    )
    _, state = apply(e.variables, clip())
    x = state["intermediates"]["encoder"]["block0"]["norm1"]["__call__"][0]
    qkv = e.variables["params"]["encoder"]["block0"]["attention"]["qkv"]
    q, k, _ = np.split(np.asarray(x @ qkv["kernel"] + qkv["bias"]), 3, axis=-1)
    head = slice(8, 12)  # head 2 of 4, 4 channels each
    scores = q[1, 2, :, head] @ k[1, 2, :, head].T / 2
    np.testing.assert_allclose(maps.space[0, 1, 2, 2], jax.nn.softmax(scores), atol=1e-5)
    scores = q[1, :, 7, head] @ k[1, :, 7, head].T / 2
    np.testing.assert_allclose(maps.time[0, 1, 7, 2], jax.nn.softmax(scores), atol=1e-5)

    part = attention_maps(e, clip(), blocks=[2, 0], heads=[3])
    assert (part.blocks, part.heads) == ((2, 0), (3,))
    np.testing.assert_allclose(part.space, maps.space[jnp.array([2, 0]), :, :, 3:], atol=1e-6)
    np.testing.assert_allclose(part.time, maps.time[jnp.array([2, 0]), :, :, 3:], atol=1e-6)
    np.testing.assert_allclose(part.gates, maps.gates[jnp.array([2, 0])], atol=1e-6)
    assert attention_maps(e, clip(), blocks=-1, heads=3).blocks == (2,)


def test_a_gate_forced_open_to_time_is_one():
    e = estimator()
    variables = jax.tree.map(lambda v: v, e.variables)
    gate = variables["params"]["encoder"]["block1"]["attention"]["gate"]
    gate["bias"] = jnp.tile(jnp.array([-40.0, 40.0]), 16)  # (space, time) of each channel
    maps = attention_maps(Estimator(e.model, variables, e.body), clip(), blocks=[1])
    np.testing.assert_allclose(maps.gates, 1.0, atol=1e-5)


def test_an_image_gives_all_its_time_to_itself():
    maps = attention_maps(estimator(), clip(t=1))
    np.testing.assert_array_equal(maps.time, np.ones((3, B, N, 4, 1, 1)))


@pytest.mark.parametrize("wrong", [{"blocks": [3]}, {"heads": [-5]}, {"blocks": []}])
def test_no_such_block_or_head(wrong):
    what = next(iter(wrong))
    with pytest.raises(UserError, match=f"^{what} run from 0 to"):
        attention_maps(estimator(), clip(), **wrong)


@pytest.mark.parametrize("mode", ["parallel", "coupling"])
def test_without_recording_the_program_is_unchanged(mode, monkeypatch):
    """The program is identical to that of a model that cannot record its weights."""
    e = estimator(mode)

    def program():
        jitted = jax.jit(lambda v, x: e.model.apply(v, x, e.body, method="regress"))
        text = jitted.lower(e.variables, clip()).compile().as_text()
        operations = [line for line in text.splitlines() if re.match(r"\s*(ROOT )?%\S+ = ", line)]
        return [re.sub(r", metadata=\{.*?\}", "", line) for line in operations]

    ours = program()
    plain = attention.attention
    monkeypatch.setattr(attention, "attention", lambda *a, **k: (plain(*a, **k)[0], None))
    monkeypatch.setattr(attention.SpatialTemporalAttention, "sow", lambda *args: False)
    assert ours == program() and any("dot(" in line for line in ours)


def test_recording_does_not_change_the_output():
    e = estimator()
    plain, _ = jax.jit(functools.partial(e.model.apply, method="regress"))(
        e.variables, clip(), e.body
    )
    (asked, _), _ = jax.jit(
        functools.partial(e.model.apply, method="regress", mutable="intermediates")
    )(e.variables, clip(), e.body)
    np.testing.assert_allclose(asked, plain, atol=1e-6)


def test_weights_of_bfloat16_are_weights_too():
    exact = estimator()
    model = exact.model.clone(dtype="bfloat16")
    maps = attention_maps(Estimator(model, exact.variables, exact.body), clip(), blocks=(-1,))
    true = attention_maps(exact, clip(), (-1,))
    for name in ("space", "time", "gates"):
        np.testing.assert_allclose(getattr(maps, name), getattr(true, name), atol=0.05)
    for weights in (maps.space, maps.time):
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
