"""The step: it learns, it skips, and it is the same on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import NamedSharding

from maed_jax.bench.collectives import collectives, totals
from maed_jax.training import sharding


def run(step_function, state, batches, key=None):
    key = jax.random.key(7) if key is None else key
    history = []
    for batch in batches:
        state, metrics = step_function(state, batch, key)
        history.append(metrics)
    return state, history


def equal(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_it_learns_and_counts():
    state, step = tiny.trainer(tiny.config(learning_rate=1e-2))
    state, history = run(jax.jit(step), state, [tiny.batch(0)] * 30)
    assert float(history[-1]["loss"]) < 0.7 * float(history[0]["loss"])
    assert int(state.step) == 30 and int(state.skipped) == 0
    expected = {"loss", "keypoints_2d", "keypoints_3d", "pose", "shape", "norm"}
    assert set(history[0]) == expected | {"gradient_norm", "learning_rate", "skipped"}


def test_each_kind_weighs_by_its_frames():
    """Clips of 8 x 4 frames and 8 images: their losses are weighted 32 : 8."""
    state, step = tiny.trainer()
    batch, step = tiny.batch(0), jax.jit(step)
    both, clips, images = (
        float(step(state, {k: batch[k] for k in kinds}, jax.random.key(0))[1]["loss"])
        for kinds in (("clips", "images"), ("clips",), ("images",))
    )
    assert both == pytest.approx((32 * clips + 8 * images) / 40, rel=1e-5)


def test_kinds_have_parameters_of_their_own_as_xla_sees_it():
    """Otherwise XLA would merge their matmuls into one, and on a GPU copy the operands for it."""
    state, step = tiny.trainer()
    text = jax.jit(step).lower(state, tiny.batch(0), jax.random.key(0)).as_text()
    barriers = [line for line in text.splitlines() if "stablehlo.optimization_barrier" in line]
    clips, images = barriers[:2]  # those of the gradients come later
    result = clips.partition(":")[0].strip()  # "%3:5 = ...", whose items are "%3#0" and so on
    operands = images.partition("optimization_barrier ")[2].partition(" : ")[0].split(", ")
    assert operands == [f"{result}#{i}" for i in range(len(operands))]


def test_dropout_follows_key_and_step_alone():
    state, step = tiny.trainer()
    step, batch = jax.jit(step), tiny.batch(0)

    def loss(state, seed):
        return float(step(state, batch, jax.random.key(seed))[1]["loss"])

    assert loss(state, 0) == loss(state, 0)
    assert loss(state, 0) != loss(state, 1)
    assert loss(state, 0) != loss(state.replace(step=jnp.int32(1)), 0)


def test_batch_norm_learns_from_clips_then_images():
    state, step = tiny.trainer(model=tiny.TinyModel(batch_norm=True))
    batch, step = tiny.batch(0), jax.jit(step)
    kinds = [{kind: batch[kind]} for kind in ("clips", "images")]
    after = [step(state, part, jax.random.key(0))[0].batch_stats for part in [*kinds, batch]]
    fresh, (clips, images, both) = state.batch_stats, after
    for f, c, i, b in zip(*map(jax.tree.leaves, (fresh, clips, images, both))):
        assert np.abs(c - f).max() > 1e-3
        np.testing.assert_allclose(b, 0.9 * c + (i - 0.9 * f), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("poison", ["labels", "params"])
def test_a_non_finite_step_is_skipped(poison):
    state, step = tiny.trainer(model=tiny.TinyModel(batch_norm=poison == "labels"))
    step, good = jax.jit(step), tiny.batch(0)
    bad = tiny.batch(1)
    bad["images"]["shape"] = np.full_like(bad["images"]["shape"], 1e30)  # squared: infinite
    if poison == "params":  # finite loss, infinite gradient
        bad = tiny.batch(1)
        head = jax.tree.map(lambda p: p * 1e15, state.params["decoder"])
        state = state.replace(params={**state.params, "decoder": head})
    after, metrics = step(state, bad, jax.random.key(0))
    assert np.isfinite(metrics["loss"]) == (poison == "params")
    assert int(metrics["skipped"]) == 1 and int(after.skipped) == 1 and int(after.step) == 1
    kept, before = ((s.variables, s.opt_state) for s in (after, state))
    assert equal(kept, before)
    again, metrics = step(after, bad, jax.random.key(0))
    assert int(metrics["skipped"]) == int(again.skipped) == 2
    if poison == "labels":
        well, metrics = step(again, good, jax.random.key(0))
        assert int(well.skipped) == 0 and int(metrics["skipped"]) == 0
        assert not equal(well.params, state.params)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("data, fsdp", [(8, 1), (2, 4)])
def test_eight_devices_are_one(data, fsdp, batch_norm):
    """Including BatchNorm, whose means are over the batch of all devices."""
    model = tiny.TinyModel(batch_norm=batch_norm)
    state, step = tiny.trainer(model=model)
    batches = [tiny.batch(i) for i in range(5)]
    one, history_one = run(jax.jit(step), state, batches)

    mesh = sharding.make_mesh(data, fsdp)
    _, step = tiny.trainer(model=model, mesh=mesh)
    layout = sharding.state_shardings(mesh, state)
    spread = jax.device_put(state, layout)
    replicated = sharding.replicated(mesh)
    many_step = jax.jit(step, donate_argnames="state", out_shardings=(layout, replicated))
    placed = [sharding.to_devices(batch, mesh) for batch in batches]
    many, history_many = run(many_step, spread, placed)
    losses = [[float(m["loss"]) for m in h] for h in (history_one, history_many)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(one.variables), jax.tree.leaves(many.variables)):
        np.testing.assert_allclose(a, b, atol=1e-5)
    kernel = many.params["encoder"]["embedding"]["kernel"]
    assert isinstance(kernel.sharding, NamedSharding)
    assert kernel.addressable_shards[0].data.size == kernel.size // fsdp


def test_spread_parameters_are_gathered_once_for_both_kinds():
    """And activations stay split like the batch; otherwise more would be sent."""
    mesh = sharding.make_mesh(1, 8)
    state, step = tiny.trainer(mesh=mesh)
    layout = sharding.state_shardings(mesh, state)
    spread, batch = jax.device_put(state, layout), sharding.to_devices(tiny.batch(0), mesh)
    jitted = jax.jit(step, out_shardings=(layout, sharding.replicated(mesh)))
    text = jitted.lower(spread, batch, jax.random.key(0)).compile().as_text()
    found = totals(collectives(text, 8))
    split = [
        leaf.nbytes
        for leaf, how in zip(*map(jax.tree.leaves, (state.params, layout.params)))
        if not how.is_fully_replicated
    ]
    assert set(found) == {"all-gather", "all-reduce"} and split
    assert found["all-gather"]["payload"] == sum(split)


def some_without(batch: dict) -> dict:
    """Every other item has no 3D labels, which is all of one of two parts."""
    batch = {name: dict(labels) for name, labels in batch.items()}
    for labels in batch.values():
        for has in ("has_3d", "has_smpl"):
            labels[has] = labels[has].copy()
            labels[has][1::2] = 0
    return batch


@pytest.mark.parametrize("change", [lambda batch: batch, some_without])
def test_a_batch_in_parts_is_the_batch(change):
    """Except for the norm, which is the mean of the parts' norms."""
    c, model = tiny.config(), tiny.TinyModel(dropout=0.0)
    c.loss.norm = 0.0
    state, step = tiny.trainer(c, model)
    batches = [change(tiny.batch(i)) for i in range(3)]
    whole, history = run(jax.jit(step), state, batches)

    c.accumulate = 2
    mesh = sharding.make_mesh(2, 2)
    layout = sharding.state_shardings(mesh, state)
    in_parts = jax.jit(tiny.trainer(c, model)[1], out_shardings=(layout, sharding.replicated(mesh)))
    placed = [sharding.to_devices(batch, mesh) for batch in batches]
    parts, again = run(in_parts, jax.device_put(state, layout), placed)
    for a, b in zip(history, again):
        for name in a.keys() - {"norm"}:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=name)
        # The root of a part is over half as many squares, divided by half as many frames.
        assert b["norm"] > 1.05 * a["norm"]
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params)):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_moving_average_follows():
    c = tiny.config(learning_rate=1e-2)
    c.ema = 0.5
    state, step = tiny.trainer(c)
    step, average = jax.jit(step), state.params
    for i in range(4):
        state, _ = step(state, tiny.batch(i), jax.random.key(0))
        decay = min(0.5, (1 + i) / (10 + i))
        average = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, average, state.params)  # noqa: B023
    for ours, expected in zip(jax.tree.leaves(state.ema), jax.tree.leaves(average)):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    assert state.variables["params"] is state.ema and not equal(state.ema, state.params)
    bad = tiny.batch(9)
    bad["images"]["shape"] = np.full_like(bad["images"]["shape"], 1e30)
    assert equal(step(state, bad, jax.random.key(0))[0].ema, state.ema)
    fresh = state.starting_from({"params": jax.tree.map(jnp.zeros_like, state.params)})
    assert not any(leaf.any() for leaf in jax.tree.leaves((fresh.params, fresh.ema)))
