"""`maed train`: trains a model or resumes training."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from ml_collections import ConfigDict

from maed_jax.arguments import Parser
from maed_jax.errors import UserError
from maed_jax.runs.config import load_config
from maed_jax.runs.config_files import list_configs
from maed_jax.training import distributed

EPILOG = """\
configurations:
{configs}

You can change any setting of a configuration on the command line:
  maed train --config demo:stage1 --workdir runs/mine --config.optimizer.learning_rate=3e-4
maed_jax/runs/config.py lists and explains them all.

The same command resumes where a run stopped. On Ctrl-C or SIGTERM, the run saves and stops after
the current step, with exit status 130 or 143.

The work directory contains config.json, checkpoints/, metrics.jsonl and tensorboard/
(tensorboard --logdir DIR).
"""


def main(argv: list[str]) -> None:
    further = "\n" + 12 * " "
    configs = "\n".join(
        f"  {name:<10}{further.join(description.lines)}"
        for name, description in list_configs().items()
        if not description.study
    )
    parser = Parser(
        prog="maed train",
        usage="maed train --config NAME[:VARIANT] --workdir DIR [--config.KEY=VALUE ...]",
        description="Train a model or resume training.",
        epilog=EPILOG.format(configs=configs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", required=True, metavar="NAME[:VARIANT]", help="one of those below, or a file"
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="directory of the run")
    parser.add_argument(
        "--profile", metavar="START:STOP", help="trace these steps into DIR/profile"
    )
    distributed.add_arguments(parser)
    options, overrides = parser.parse_known_args(argv)
    config = load_config(options.config, overrides)
    if "study" in config:
        raise UserError(f"this is a study of many runs: maed ablate --config {options.config}")
    distributed.initialize(options)
    stopped_by = train(config, options.workdir, profile=options.profile)
    if stopped_by:
        sys.exit(128 + stopped_by)


def train(config: ConfigDict, workdir: str | Path, *, profile: str | None = None) -> int:
    """Trains until `config.steps`, from the latest checkpoint in `workdir` if there is one.

    Args:
      profile: "START:STOP", the steps to trace.

    Returns:
      0, or the number of the signal that stopped it.

    Raises:
      UserError: invalid settings, or a work directory that belongs to another run or is in use.
    """
    import jax

    from maed_jax import jax_setup
    from maed_jax.files.locks import only_run_in
    from maed_jax.runs.checkpoints import Checkpoints, saved_steps, write_config
    from maed_jax.runs.settings import check_settings
    from maed_jax.training import cost, sharding
    from maed_jax.training.monitor import Monitor
    from maed_jax.training.prefetch import Prefetch
    from maed_jax.training.profile import Profile
    from maed_jax.training.setup import initial_state, set_up
    from maed_jax.training.stop import StopRequests

    jax_setup.configure()
    workdir, lead = Path(workdir), jax.process_index() == 0
    check_settings(config, resumed=bool(saved_steps(workdir)))
    trace = Profile(workdir, profile)
    setup = set_up(config)
    mesh, train_step, validation = setup.mesh, setup.step, setup.validation

    def log(text: str) -> None:
        if lead:
            print(text, file=sys.stderr)

    run_lock = only_run_in(workdir) if lead else contextlib.nullcontext()
    with (
        contextlib.closing(setup.batches),
        run_lock,
        Checkpoints(workdir, config.keep) as checkpoints,
    ):
        state = initial_state(setup, config, checkpoints, workdir, log)
        if lead:
            write_config(workdir, config)
        start = int(state.step)
        if start >= config.steps:
            log(f"{workdir} is complete: it has {start} of {config.steps} steps")
            return 0
        num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        log(
            f"{num_params / 1e6:.1f} M parameters on {mesh.size} x {jax.devices()[0].device_kind}; "
            f"steps {start} to {config.steps}; TensorBoard: {workdir / 'tensorboard'}"
        )

        with (
            Prefetch(setup.batches, lambda batch: sharding.to_devices(batch, mesh)) as prefetched,
            Monitor(
                workdir,
                start=start,
                total=config.steps,
                log_every=config.log_every,
                items=setup.items,
                max_skipped=config.max_skipped,
                rates=lambda rate: cost.throughput(train_step.operations, rate, mesh.size),
                waited=lambda: prefetched.waited,
                replaced=lambda: setup.batches.replaced,
            ) as monitor,
            trace,
            StopRequests() as stop,
        ):
            trace.after(start, state)
            monitor.say("compiling the step (a minute or more on CPUs; Ctrl-C waits for it)")
            for step, (batch, position) in zip(range(start + 1, config.steps + 1), prefetched):
                state, metrics = train_step(state, batch, setup.step_key)
                if step == start + 1:
                    monitor.say(train_step.summary())
                monitor.record(step, metrics)
                trace.after(step, metrics)

                # Preemption leaves no time to validate.
                stopping = stop.after(step)
                last = stopping or step == config.steps
                scores, best = None, False
                if validation is not None and not stopping and step % config.eval_every == 0:
                    scores = validation.errors(state.variables)
                    best = checkpoints.is_best(scores)
                    gates, images = validation.inspect(state.variables)
                    monitor.write(step, {f"validation/{k}": v for k, v in scores.items()} | gates)
                    monitor.write_images(step, "validation", images)
                    monitor.restart_clock()
                if last or best or step % config.checkpoint_every == 0:
                    checkpoints.save(state, position, scores)
                if last:
                    monitor.flush(step)
                    break
    if stop.signal:
        log(f"stopped at step {step}, saved; the same command resumes")
    return stop.signal


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
