"""Shards arrays over a mesh of devices: batches over all of it, parameters over part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from maed_jax.errors import UserError

# Smaller arrays are replicated: gathering them would cost more than it saves.
MIN_SHARDED_SIZE = 2**12


def make_mesh(data: int, fsdp: int) -> Mesh:
    """A mesh of `data` copies of the model, each over `fsdp` devices; -1 takes all that remain.

    Raises:
      UserError: there are too few devices, or they cannot be laid out like this.
    """
    available = jax.device_count()
    if 0 in (data, fsdp) or min(data, fsdp) < -1 or data == fsdp == -1:
        raise UserError(
            f"config.mesh must be numbers of devices, at most one of them -1, not {data} x {fsdp}"
        )
    inferred = -1 in (data, fsdp)
    data = available // fsdp if data == -1 else data
    fsdp = available // data if fsdp == -1 else fsdp
    needed = data * fsdp
    if needed > available or needed == 0:
        raise UserError(
            f"config.mesh needs {max(data, 1)} x {max(fsdp, 1)} devices but there are {available}"
        )
    if needed < available and inferred:
        raise UserError(
            f"config.mesh has -1 for all {available} devices, but {data} x {fsdp} would leave "
            f"{available - needed} idle: choose a divisor of {available}, or give both numbers"
        )
    if needed < available and jax.process_count() > 1:
        raise UserError(
            f"config.mesh uses {needed} of {available} devices; "
            "with several processes it must use all of them"
        )
    # JAX's default, AxisType.Explicit, rejects reshapes that the model needs.
    return jax.make_mesh(
        (data, fsdp), ("data", "fsdp"), (AxisType.Auto,) * 2, devices=jax.devices()[:needed]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Splits the first axis over all devices."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def state_shardings(mesh: Mesh, state: Any) -> Any:
    """Splits each array of `state` (or its shape) over `fsdp`, along the largest divisible axis."""
    parts = mesh.shape["fsdp"]

    def sharding(array) -> NamedSharding:
        axes = [axis for axis, size in enumerate(array.shape) if size % parts == 0]
        if parts == 1 or not axes or np.prod(array.shape) < MIN_SHARDED_SIZE:
            return replicated(mesh)
        largest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, P(*[None] * largest, "fsdp"))

    return jax.tree.map(sharding, state)


def gathered(params: Any, layout: Any) -> Any:
    """Gathers arrays sharded like `layout` on every device; their gradient is sharded like them.

    For a model whose batch is split over all devices: each gathers the parameters it uses. By
    itself, XLA would split some activations like the kernels: it would send more, and require parts
    into which cuDNN's attention cannot be split. The gradient is gathered first; otherwise
    arithmetic on kernels would be split too, with many small sums across devices.
    """
    replicas = jax.tree.map(lambda sharding: replicated(sharding.mesh), layout)
    constrain = jax.lax.with_sharding_constraint

    @jax.custom_vjp
    def gather(params):
        return constrain(params, replicas)

    gather.defvjp(
        lambda params: (gather(params), None),
        lambda _, grads: (constrain(constrain(grads, replicas), layout),),
    )
    return gather(params)


def check_batch(mesh: Mesh, accumulate: int, sizes: Mapping[str, int]) -> None:
    """Checks that every batch can be split evenly over the mesh.

    Args:
      accumulate: number of parts that a batch is split into first.
      sizes: maps a setting in `config.data`, or a sum of settings, to a number of samples.

    Raises:
      UserError: a batch cannot be split.
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
    """Turns host arrays, this process's part of a batch, into global arrays split over the mesh."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def from_host(array: Any, sharding: NamedSharding) -> jax.Array:
    """Distributes an array that every process has in full over the devices of all processes."""
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
