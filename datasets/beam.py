"""Runs tasks on Apache Beam instead of local processes, for sources too large for one machine.

The same function makes the same parts, so a build may be started one way and finished the other.
All machines need this package installed, and the raw data and the build folder on a shared file
system.
"""

from __future__ import annotations

import shlex

from maed_jax.errors import UserError

from . import parts


def options(text: str):
    """Returns Beam's `PipelineOptions` for a command line such as "--direct_num_workers=2".

    Raises:
      UserError: Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError(
            "Apache Beam is not installed here: docs/data.md says how to install it in a separate "
            "environment"
        ) from None
    return PipelineOptions(shlex.split(text))


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
