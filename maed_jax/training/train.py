"""`maed train`: trains a model, or goes on training one."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from ml_collections import ConfigDict

from maed_jax.arguments import Parser
from maed_jax.errors import UserError
from maed_jax.training import distributed
from maed_jax.training.config import check_same_run, load_config
from maed_jax.training.config_files import list_configs

EPILOG = """\
configurations:
{configs}

Any setting of a configuration can be changed on the command line:
  maed train --config demo:stage1 --workdir runs/mine --config.optimizer.learning_rate=3e-4
maed_jax/training/config.py lists and explains them all.

The same command goes on where a run stopped. Ctrl-C or SIGTERM saves and stops after the current
step; the exit status is then 130 or 143.

The work directory holds config.json, checkpoints/, metrics.jsonl and tensorboard/
(tensorboard --logdir DIR).
"""


def main(argv: list[str]) -> None:
    further = "\n" + 12 * " "
    configs = "\n".join(
        f"  {name:<10}{further.join(listed.lines)}"
        for name, listed in list_configs().items()
        if not listed.study
    )
    parser = Parser(
        prog="maed train",
        usage="maed train --config NAME[:VARIANT] --workdir DIR [--config.KEY=VALUE ...]",
        description="Trains a model, or goes on training one.",
        epilog=EPILOG.format(configs=configs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", required=True, metavar="NAME[:VARIANT]", help="one of those below, or a file"
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where the run is kept")
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
      UserError: settings that cannot be, another run's work directory, or one that is in use.
    """
    import jax
    import jax.numpy as jnp

    from maed_jax import jax_setup
    from maed_jax.body.files import load_kept_body
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.compiler_options import for_training, hastily
    from maed_jax.data.pipeline import training_batches
    from maed_jax.locks import only_run_in
    from maed_jax.models.maed import MAED
    from maed_jax.training import cost, sharding
    from maed_jax.training.checkpoints import (
        Checkpoints,
        read_config,
        read_variables,
        saved_steps,
        write_config,
    )
    from maed_jax.training.handover import hand_over
    from maed_jax.training.monitor import Monitor
    from maed_jax.training.prefetch import Prefetch
    from maed_jax.training.profile import Profile
    from maed_jax.training.settings import check_settings
    from maed_jax.training.state import create_state, make_optimizer, make_schedule
    from maed_jax.training.step import make_train_step
    from maed_jax.training.stop import StopRequests
    from maed_jax.training.validation import Validation

    jax_setup.configure()
    workdir, data = Path(workdir), config.data
    lead = jax.process_index() == 0
    check_settings(config, resumed=bool(saved_steps(workdir)))
    trace = Profile(workdir, profile)

    # Devices and data.
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp)
    items = {
        "clips": data.clips_per_batch + data.clips_2d_per_batch,
        "images": data.images_per_batch,
    }
    both = " + clips_2d_per_batch" if data.clips_2d_per_batch else ""
    sizes = {f"clips_per_batch{both}": items["clips"], "images_per_batch": items["images"]}
    sharding.check_batch(mesh, config.accumulate, **sizes)
    body = load_kept_body(config.body, "--config.body")
    points_body = keypoint_body(body)
    batches = training_batches({**data, "body": body.name}, config.seed, config.model.image_size)

    # Model and optimiser. Random streams hang on one key; nothing random is saved.
    model = MAED(**config.model)
    optimizer = make_optimizer(config.optimizer)
    schedule = make_schedule(config.optimizer, config.steps)
    init_key, step_key = (jax.random.fold_in(jax.random.key(config.seed), i) for i in range(2))
    validation = Validation(config, model, body, mesh) if config.eval_every else None

    def init(key):
        size = config.model.image_size
        variables = model.init(key, jnp.zeros((1, 1, size, size, 3)), points_body)
        return create_state(variables, optimizer, ema=config.ema > 0)

    abstract = jax.eval_shape(init, init_key)
    layout = sharding.state_shardings(mesh, abstract)
    abstract = jax.tree.map(lambda a, s: a.update(sharding=s), abstract, layout)
    step_function = make_train_step(
        model,
        points_body,
        optimizer,
        schedule,
        config.loss,
        accumulate=config.accumulate,
        ema=config.ema,
        layout=layout,
    )
    outputs = (layout, sharding.replicated(mesh))
    frames = items["clips"] * data.clip_length + items["images"]
    train_step = cost.Compiled(
        jax.jit(step_function, donate_argnames="state", out_shardings=outputs),
        config.accumulate,
        for_training(config.model.dim, frames // mesh.size // config.accumulate),
    )

    def tell(text: str) -> None:
        if lead:
            print(text, file=sys.stderr)

    alone = only_run_in(workdir) if lead else contextlib.nullcontext()
    with alone, Checkpoints(workdir, config.keep) as checkpoints:
        # Go on with what is there, start from an earlier stage, or start from nothing.
        if checkpoints.steps and (begun_with := read_config(workdir)) is not None:
            check_same_run(begun_with, config, workdir)
        if (restored := checkpoints.restore(abstract)) is not None:
            state, position = restored
            batches.set_state(position)
            tell(f"going on from step {int(state.step)} in {workdir}")
        else:
            earlier = read_variables(config.init_from) if config.init_from else None
            draw = jax.jit(init, out_shardings=layout, compiler_options=hastily())
            state = draw(init_key)
            if earlier is not None:
                take_decoder = config.init_decoder
                taken, report = hand_over(state.variables, earlier[0], decoder=take_decoder)
                state = state.starting_from(taken)
                tell(f"from {config.init_from}, step {earlier[1]}:\n{report}")
            del earlier  # its memory is wanted for training
        if lead:
            write_config(workdir, config)
        start = int(state.step)
        numbers = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        tell(
            f"{numbers / 1e6:.1f} M parameters on {mesh.size} x {jax.devices()[0].device_kind}; "
            f"steps {start} to {config.steps}; TensorBoard: {workdir / 'tensorboard'}"
        )
        if start >= config.steps:
            return 0

        with (
            Prefetch(batches, lambda batch: sharding.to_devices(batch, mesh)) as prefetched,
            Monitor(
                workdir,
                start=start,
                total=config.steps,
                log_every=config.log_every,
                items=items,
                max_skipped=config.max_skipped,
                rates=lambda rate: cost.throughput(train_step.operations, rate, mesh.size),
                waited=lambda: prefetched.waited,
            ) as monitor,
            trace,
            StopRequests() as stop,
        ):
            trace.after(start, state)
            for step, (batch, position) in zip(range(start + 1, config.steps + 1), prefetched):
                state, metrics = train_step(state, batch, step_key)
                if step == start + 1:
                    monitor.say(train_step.summary())
                monitor.record(step, metrics)
                trace.after(step, metrics)

                stopping = stop.after(step)  # whoever takes the machine grants no validation
                last = stopping or step == config.steps
                scores, best = None, False
                if validation is not None and not stopping and step % config.eval_every == 0:
                    scores = validation.errors(state.variables)
                    best = checkpoints.beaten_by(scores)
                    gates, pictures = validation.look(state.variables)
                    monitor.write(step, {f"validation/{k}": v for k, v in scores.items()} | gates)
                    monitor.show(step, "validation", pictures)
                    monitor.restart_clock()
                if last or best or step % config.checkpoint_every == 0:
                    checkpoints.save(state, position, scores)
                if last:
                    monitor.flush(step)
                    break
    batches.close()
    if stop.number:
        tell(f"stopped at step {step}, saved; the same command goes on")
    return stop.number


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
