"""Several processes as one run: JAX's own runtime, on an explicit flag."""

from __future__ import annotations

import argparse
import sys

from maed_jax.errors import UserError, reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several processes, each started with the same command")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="join the others; Cloud TPU, Slurm and Open MPI tell JAX who they are",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="elsewhere: the first process")
    group.add_argument("--num_processes", type=int, metavar="N", help="elsewhere: how many")
    group.add_argument("--process_id", type=int, metavar="I", help="elsewhere: which, from 0")


def initialize(options: argparse.Namespace) -> None:
    """Joins the other processes, as `add_arguments` has it; before JAX computes anything.

    Raises:
      UserError: options that do not go together, or no one to join.
    """
    by_hand = (options.coordinator, options.num_processes, options.process_id)
    given = [value is not None for value in by_hand]
    if any(given) and not (all(given) and options.distributed):
        raise UserError(
            "--coordinator, --num_processes and --process_id go together, with --distributed"
        )
    if not options.distributed:
        return
    import jax

    try:
        jax.distributed.initialize(*by_hand)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the other processes: {reason(error)}; outside of Cloud TPU, Slurm and "
            "Open MPI give --coordinator, --num_processes and --process_id"
        ) from None
    print(
        f"process {jax.process_index()} of {jax.process_count()}: "
        f"{jax.local_device_count()} of {jax.device_count()} devices",
        file=sys.stderr,
    )
