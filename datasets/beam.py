"""Work on Apache Beam in place of processes of this machine, for sources too big for one.

The same function makes the same parts, so that a build may be begun one way and ended the other.
All machines need this package installed, and the raw data and the folder of the build on a file
system that they share.
"""

from __future__ import annotations

import shlex

from maed_jax.errors import UserError

from . import parts


def options(text: str):
    """Beam's `PipelineOptions` from a command line such as "--direct_num_workers=2".

    Raises:
      UserError: Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError(
            "Apache Beam is not installed here: docs/data.md says how to have it in an environment "
            "of its own"
        ) from None
    return PipelineOptions(shlex.split(text))


def make(jobs: list[parts.Job], runner: str, pipeline_options) -> None:
    """Makes the parts of `jobs` in a pipeline; each is there as soon as it is finished."""
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
