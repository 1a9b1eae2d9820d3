"""How arrays lie on devices: one mesh, batches split over all of it, parameters over part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from maed_jax.errors import UserError

# Arrays below this size stay whole on every device: gathering them costs more than they weigh.
SMALLEST_SPLIT = 2**12


def make_mesh(data: int, fsdp: int) -> Mesh:
    """A mesh of `data` copies of the model, each over `fsdp` devices; -1 takes all that are left.

    Raises:
      UserError: there are not so many devices, or they cannot be laid out so.
    """
    present = jax.device_count()
    if 0 in (data, fsdp) or min(data, fsdp) < -1 or data == fsdp == -1:
        raise UserError(
            f"config.mesh must be numbers of devices, one of them -1 at most: {data} x {fsdp}"
        )
    left_open = -1 in (data, fsdp)
    data = present // fsdp if data == -1 else data
    fsdp = present // data if fsdp == -1 else fsdp
    needed = data * fsdp
    if needed > present or needed == 0:
        raise UserError(
            f"config.mesh asks for {max(data, 1)} x {max(fsdp, 1)} devices and there are {present}"
        )
    if needed < present and left_open:
        raise UserError(
            f"config.mesh has -1 for all {present} devices, of which {data} x {fsdp} would leave "
            f"{present - needed} idle: choose a divisor of {present}, or say both numbers"
        )
    if needed < present and jax.process_count() > 1:
        raise UserError(
            f"config.mesh uses {needed} of {present} devices; "
            "with several processes it must use all of them"
        )
    # JAX's default, AxisType.Explicit, rejects rearranges that the model needs.
    return jax.make_mesh(
        (data, fsdp), ("data", "fsdp"), (AxisType.Auto,) * 2, devices=jax.devices()[:needed]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis over all devices."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def state_shardings(mesh: Mesh, state: Any) -> Any:
    """For each array of `state` (shapes are enough): its largest axis that divides, over `fsdp`."""
    parts = mesh.shape["fsdp"]

    def sharding(array) -> NamedSharding:
        axes = [axis for axis, size in enumerate(array.shape) if size % parts == 0]
        if parts == 1 or not axes or np.prod(array.shape) < SMALLEST_SPLIT:
            return replicated(mesh)
        largest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, P(*[None] * largest, "fsdp"))

    return jax.tree.map(sharding, state)


def gathered(params: Any, layout: Any) -> Any:
    """Arrays that lie as `layout` says, whole on every device; their gradient lies as they do.

    For a model whose batch is split over all devices: each gathers what it computes with. Left to
    itself XLA splits activations by the layout of the kernels here and there: it sends more, and
    asks for parts that cuDNN's attention cannot be split into. The gradient is whole at first, or
    arithmetic on kernels is split too, over many little sums.
    """
    whole = jax.tree.map(lambda sharding: replicated(sharding.mesh), layout)
    put = jax.lax.with_sharding_constraint

    @jax.custom_vjp
    def gather(params):
        return put(params, whole)

    gather.defvjp(
        lambda params: (gather(params), None), lambda _, grads: (put(put(grads, whole), layout),)
    )
    return gather(params)


def check_batch(mesh: Mesh, accumulate: int, sizes: Mapping[str, int]) -> None:
    """Checks that every batch divides over the mesh.

    Args:
      accumulate: into how many parts each is split before.
      sizes: setting in `config.data`, or a sum of some -> how many samples that is.

    Raises:
      UserError: one does not.
    """
    for name, size in sizes.items():
        if size % (mesh.size * accumulate):
            if accumulate > 1:
                raise UserError(
                    f"config.data.{name}={size} does not divide into config.accumulate="
                    f"{accumulate} parts over {mesh.size} devices; choose a multiple of "
                    f"{mesh.size * accumulate}"
                )
            raise UserError(
                f"config.data.{name}={size} does not divide over {mesh.size} devices; choose a "
                "multiple of them, or fewer devices with config.mesh.data"
            )


def to_devices(batch: Any, mesh: Mesh) -> Any:
    """Host arrays, this process's share of the batch, as global arrays split over the mesh."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def from_host(array: Any, sharding: NamedSharding) -> jax.Array:
    """An array that every process has whole, laid out over the devices of all of them."""
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
