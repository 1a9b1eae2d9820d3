"""Joins several processes into one run with JAX's own runtime, if a flag requests it."""

from __future__ import annotations

import argparse
import sys

from maed_jax.errors import UserError, reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several processes, each started with the same command")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="join the others; on Cloud TPU, Slurm and Open MPI, JAX finds them by itself",
    )
    elsewhere = "on other clusters: "
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help=elsewhere + "address of process 0"
    )
    group.add_argument(
        "--num_processes", type=int, metavar="N", help=elsewhere + "number of processes"
    )
    group.add_argument(
        "--process_id", type=int, metavar="I", help=elsewhere + "this process's index, from 0"
    )


def initialize(options: argparse.Namespace) -> None:
    """Joins the other processes given by the `add_arguments` options; call before any computation.

    Raises:
      UserError: inconsistent options, or the other processes cannot be reached.
    """
    cluster = (options.coordinator, options.num_processes, options.process_id)
    given = [value is not None for value in cluster]
    if any(given) and not (all(given) and options.distributed):
        raise UserError(
            "--coordinator, --num_processes and --process_id must be given together, and with "
            "--distributed"
        )
    if not options.distributed:
        return
    import jax

    try:
        jax.distributed.initialize(*cluster)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the other processes: {reason(error)}; outside Cloud TPU, Slurm and "
            "Open MPI, give --coordinator, --num_processes and --process_id"
        ) from None
    print(
        f"process {jax.process_index()} of {jax.process_count()}: "
        f"{jax.local_device_count()} of {jax.device_count()} devices",
        file=sys.stderr,
    )
