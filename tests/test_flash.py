import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.models import attention, flash

B, T, HEADS, DH = 2, 3, 2, 8


def draw(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


@pytest.mark.parametrize("queries, keys", [(5, 5), (1, 5), (4, 6)])
def test_answer_and_gradient_are_those_of_the_weights(queries, keys):
    """With XLA's implementation, which takes the same layout and lengths; cuDNN needs a GPU."""
    q, k, v = (draw(B, T, HEADS, n, DH) for n in (queries, keys, keys))
    along = draw(*q.shape)

    def fused(q, k, v):
        return flash.flash_attention(q, k, v, implementation="xla")

    ours, pull_ours = jax.vjp(fused, q, k, v)
    plain, pull_plain = jax.vjp(lambda *qkv: attention.attend(*qkv)[0], q, k, v)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    for one, other in zip(pull_ours(along), pull_plain(along)):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_tokens_that_are_not_meant_are_not_read():
    q, k, v = (draw(B, T, HEADS, 6, DH) for _ in range(3))
    found = flash.flash_attention(q, k, v, 5, implementation="xla")
    meant = (a[..., :5, :] for a in (q, k, v))
    np.testing.assert_allclose(found[..., :5, :], attention.attend(*meant)[0], atol=1e-5)


def test_cudnn_is_given_even_lengths():
    shapes = []
    real = jax.nn.dot_product_attention
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            jax.nn, "dot_product_attention",
            lambda q, k, v, **how: (shapes.append((q.shape, k.shape)), real(q, k, v, **how))[1],
        )  # fmt: skip
        parts = (draw(B, T, HEADS, 5, DH) for _ in range(3))
        flash.flash_attention(*parts, implementation="xla")
    assert shapes == [((B * T, 6, HEADS, DH), (B * T, 6, HEADS, DH))]


class Device:
    platform, device_kind, compute_capability = "gpu", "NVIDIA H100 80GB HBM3", "9.0"


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, True),
        ({"platform": "cpu"}, False),
        ({"device_kind": "AMD Instinct MI300X"}, False),
        ({"compute_capability": "7.5"}, False),
    ],
)
def test_who_has_the_kernel(changes, expected, monkeypatch):
    device = type("Other", (Device,), changes)()
    monkeypatch.setattr(jax, "devices", lambda *platform: [device])
    assert flash.has_kernel() is expected
    with jax.default_device("gpu"):
        assert flash.has_kernel() is expected


def test_a_default_device_is_heeded(monkeypatch):
    cpu = jax.devices()[0]
    monkeypatch.setattr(jax, "devices", lambda *platform: [Device()])
    with jax.default_device(cpu):
        assert not flash.has_kernel()


@pytest.mark.parametrize(
    "shape, dtype, expected",
    [
        ((B, T, HEADS, 197, 64), "bfloat16", True),
        ((B, T, HEADS, 197, 64), "float32", False),
        ((B, 197, HEADS, 16, 64), "bfloat16", False),  # over time: too few
        ((B, T, HEADS, 197, 12), "bfloat16", False),
        ((B, T, HEADS, 197, 192), "bfloat16", False),
    ],
)
def test_where_it_pays(shape, dtype, expected, monkeypatch):
    monkeypatch.setattr(flash, "has_kernel", lambda: True)
    assert flash.fits(jnp.zeros(shape, dtype)) is expected


def test_it_can_be_disabled(monkeypatch):
    monkeypatch.setattr(flash, "has_kernel", lambda: True)
    k = jnp.zeros((B, T, HEADS, 197, 64), jnp.bfloat16)
    with flash.disabled():
        assert not flash.fits(k)
    assert flash.fits(k)


def test_who_looks_at_the_weights_has_them(monkeypatch):
    """If nobody requests weights, the output is the same without; with XLA's implementation."""
    by_xla = functools.partial(flash.flash_attention, implementation="xla")
    monkeypatch.setattr(flash, "fits", lambda k: True)
    monkeypatch.setattr(flash, "flash_attention", by_xla)
    layer = attention.SpatialTemporalAttention(HEADS, "coupling")
    x = draw(B, T, 5, HEADS * DH)
    params = layer.init(jax.random.key(0), x)["params"]
    unseen = layer.apply({"params": params}, x)
    seen, state = layer.apply({"params": params}, x, mutable="intermediates")
    np.testing.assert_allclose(unseen, seen, atol=1e-5)
    assert state["intermediates"]["joint"][0].shape == (B, HEADS, T, 5, T, 5)


@jax.custom_vjp
def disturbed(q, k, v, tokens):
    """Correct for `tokens`; other tokens' outputs and gradients are garbage, like stale memory."""
    return flash_by_xla(q, k, v, tokens)


def disturbed_forward(q, k, v, tokens):
    assert k.shape[-2] == tokens + 1
    y, pull = jax.vjp(lambda *qkv: flash_by_xla(*qkv, tokens), q, k, v)
    return disturb(y, tokens), (pull, tokens)


def disturbed_backward(saved, gradient):
    pull, tokens = saved
    return *(disturb(a, tokens) for a in pull(gradient)), None


def disturb(x, tokens):
    return x.at[..., tokens:, :].set(jnp.nan)


disturbed.defvjp(disturbed_forward, disturbed_backward)
flash_by_xla = functools.partial(flash.flash_attention, implementation="xla")


@pytest.mark.parametrize("queries", [None, 1])
@pytest.mark.parametrize("mode", ["parallel", "parallel_v1", "series", "vanilla"])
def test_a_token_more_for_the_kernel_changes_nothing(mode, queries, monkeypatch):
    """Neither output nor gradients, even if the padding's are garbage; uses XLA here."""
    tokens = 5
    layer = attention.SpatialTemporalAttention(HEADS, mode)
    x = draw(B, T, tokens, HEADS * DH)
    params = layer.init(jax.random.key(0), x)["params"]

    def answer(params, x):
        return layer.apply({"params": params}, x, queries)

    plain, pull_plain = jax.vjp(answer, params, x)
    monkeypatch.setattr(flash, "fits", lambda k: k.shape[-2] > T)
    monkeypatch.setattr(flash, "flash_attention", disturbed)
    fused, pull_fused = jax.vjp(answer, params, x)
    np.testing.assert_allclose(fused, plain, atol=1e-5)
    along = draw(*plain.shape)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-4),
        pull_fused(along),
        pull_plain(along),
    )


def test_xla_is_asked_for_cudnns_kernels(monkeypatch):
    """Lowers forward and gradient for a GPU, as far as that is possible without one."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    monkeypatch.setattr(flash, "has_kernel", lambda: True)
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91900)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda capability: True)
    monkeypatch.setattr(cudnn, "is_cuda_compute_capability_equal", lambda capability: False)
    layer = attention.SpatialTemporalAttention(HEADS, "parallel")
    x = jax.ShapeDtypeStruct((B, T, 65, HEADS * DH), jnp.bfloat16)
    params = jax.eval_shape(layer.init, jax.random.key(0), x)

    def total(params, x):
        return layer.apply(params, x).astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(total)).trace(params, x)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmaxBackward" in program
    assert "65x65" not in program and "66x66" not in program  # weights are never stored
