"""Shared by benchmark tests: a yardstick of small matrices, and networks that compile quickly."""

import functools

import jax.numpy as jnp
import tiny

from maed_jax.bench import clock, network, yardstick


def small_yardstick(monkeypatch):
    small = functools.partial(yardstick.Yardstick, side=64, megabytes=1)
    monkeypatch.setattr(yardstick, "Yardstick", small)
    monkeypatch.setattr(yardstick, "READING", 0.0)
    monkeypatch.setattr(clock, "TURN", 0.0)


def tiny_model(monkeypatch):
    """Replaces MAED by `tests/tiny.py`'s model; returns arguments for commands that measure it."""

    def model(clip_length, **_):
        return tiny.TinyModel(tiny.SIZE, clip_length)

    monkeypatch.setattr(network, "MAED", model)
    monkeypatch.setattr("maed_jax.models.maed.MAED", model)
    return ["--config", "debug", f"--config.model.image_size={tiny.SIZE}"]


def products(monkeypatch):
    """Replaces the network and its parts by matmuls whose cost grows like theirs."""
    square = jnp.ones((32, 32))

    def work(times):
        return (lambda x, y: x @ y), (jnp.ones((32 * times, 32)), square)

    def block(net, mode, t):
        return work(t if mode == "parallel" else t * t)

    monkeypatch.setattr(network, "make", lambda config: network.Network(*made(config), None))
    monkeypatch.setattr(network, "for_inference", lambda net: net)
    monkeypatch.setattr(network, "forward", lambda net, b, t, **_: work(b * t))
    monkeypatch.setattr(network, "parts", lambda net, b, t: {"root": work(t), "blocks": work(t)})
    monkeypatch.setattr(network, "block", block)


def made(config):
    return network.MAED(**config.model), {}
