"""Meshes, shardings, and errors raised before compiling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.training import sharding


@pytest.mark.parametrize(
    "sizes, expected",
    [((-1, 1), (8, 1)), ((2, -1), (2, 4)), ((-1, 4), (2, 4)), ((1, 1), (1, 1)), ((2, 2), (2, 2))],
)
def test_mesh(sizes, expected):
    assert tuple(sharding.make_mesh(*sizes).shape.values()) == expected


@pytest.mark.parametrize("sizes", [(16, 1), (3, 4), (-1, 16), (-1, -1), (0, 1), (1, -2)])
def test_impossible_meshes(sizes):
    with pytest.raises(UserError, match="config.mesh"):
        sharding.make_mesh(*sizes)


@pytest.mark.parametrize("sizes", [(-1, 3), (3, -1)])
def test_what_is_left_over_must_divide(sizes):
    with pytest.raises(UserError, match="all 8 devices, .* would leave 2 idle: .* divisor of 8"):
        sharding.make_mesh(*sizes)
    assert sharding.make_mesh(2, 3).size == 6  # explicit numbers may leave some idle


def test_batches_must_divide():
    mesh = sharding.make_mesh(4, 2)
    sharding.check_batch(mesh, 1, {"clips_per_batch": 16, "images_per_batch": 0})
    with pytest.raises(UserError, match="clips_per_batch=12 does not divide over 8 devices"):
        sharding.check_batch(mesh, 1, {"clips_per_batch": 12, "images_per_batch": 8})


def test_parts_of_a_batch_must_divide():
    mesh = sharding.make_mesh(2, 1)
    sharding.check_batch(mesh, 4, {"images_per_batch": 16})
    with pytest.raises(UserError, match="=12 .* config.accumulate=4 parts .* a multiple of 8"):
        sharding.check_batch(mesh, 4, {"images_per_batch": 12})


def test_fsdp_holds_an_eighth():
    mesh = sharding.make_mesh(1, 8)
    tree = {
        "long": jnp.ones((96, 64)), "wide": jnp.ones((64, 96)), "wide but odd": jnp.ones((64, 97)),
        "odd": jnp.ones((97, 71)), "small": jnp.ones(8),
    }  # fmt: skip
    placed = jax.device_put(tree, sharding.state_shardings(mesh, jax.eval_shape(lambda: tree)))
    held = {name: x.addressable_shards[0].data.shape for name, x in placed.items()}
    assert held == {
        "long": (12, 64), "wide": (64, 12), "wide but odd": (8, 97), "odd": (97, 71), "small": (8,),
    }  # fmt: skip


def test_to_devices():
    batch = {"images": {"image": np.arange(16, dtype=np.uint8).reshape(8, 2)}}
    placed = sharding.to_devices(batch, sharding.make_mesh(4, 2))["images"]["image"]
    assert [s.data.shape for s in placed.addressable_shards] == [(1, 2)] * 8
    np.testing.assert_array_equal(placed, batch["images"]["image"])
