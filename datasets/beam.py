"""Runs tasks on Apache Beam instead of local processes, for sources too large for one machine.

The same function makes the same parts, so a build may be started one way and finished the other.
All machines need this package installed, and the raw data and the build folder on a shared file
system.
"""

from __future__ import annotations

import shlex

from maed_jax.errors import UserError, reason

from . import parts


def settings(runner: str, options: str) -> dict:
    """Returns how TFDS and `make` run a pipeline.

    Args:
      runner: a name such as "DirectRunner".
      options: a command line such as "--direct_num_workers=2".

    Raises:
      UserError: Beam is not installed, or has no such runner.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners import create_runner
    except ImportError:
        raise UserError(
            "Apache Beam is not installed here: docs/data.md says how to install it in a separate "
            "environment"
        ) from None
    if runner == "DirectRunner":  # would first download another one, Prism, from GitHub
        runner = "FnApiRunner"
    try:
        create_runner(runner)
    except ValueError as error:
        raise UserError(f"--beam: {reason(error)}") from None
    return {"beam_runner": runner, "beam_options": PipelineOptions(shlex.split(options))}


def make(jobs: list[parts.Job], runner: str, pipeline_options) -> None:
    """Makes the parts of `jobs` in a pipeline; each appears as soon as it is finished."""
    import apache_beam as beam

    with beam.Pipeline(runner=runner, options=pipeline_options) as pipeline:
        _ = (
            pipeline
            | "Tasks" >> beam.Create(jobs)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(_make)
        )


def _make(job: parts.Job) -> int:
    return parts.make(job)["records"]
