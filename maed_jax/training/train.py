"""`maed train`: trains a model, or goes on training one."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.training.config import check_same_run, list_configs, load_config

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
    configs = "\n".join(f"  {name:<10}{text}" for name, text in list_configs().items())
    parser = argparse.ArgumentParser(
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
    options, overrides = parser.parse_known_args(argv)
    config = load_config(options.config, overrides)
    stopped_by = train(config, options.workdir)
    if stopped_by:
        sys.exit(128 + stopped_by)


def train(config: ConfigDict, workdir: str | Path) -> int:
    """Trains until `config.steps`, from the latest checkpoint in `workdir` if there is one.

    Returns:
      0, or the number of the signal that stopped it.

    Raises:
      UserError: settings that cannot be, or another run's work directory.
    """
    import jax
    import jax.numpy as jnp

    from maed_jax import jax_setup
    from maed_jax.body.files import load_body
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.data.pipeline import training_batches
    from maed_jax.models.maed import MAED
    from maed_jax.training import sharding
    from maed_jax.training.checkpoints import (
        Checkpoints,
        read_config,
        read_variables,
        write_config,
    )
    from maed_jax.training.handover import hand_over
    from maed_jax.training.monitor import Monitor
    from maed_jax.training.prefetch import Prefetch
    from maed_jax.training.state import create_state, make_optimizer, make_schedule
    from maed_jax.training.step import make_train_step

    jax_setup.configure()
    workdir, data = Path(workdir), config.data
    on_cpu = jax.default_backend() == "cpu"
    check_settings(config)

    # Devices and data.
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp)
    items = {"clips": data.clips_per_batch, "images": data.images_per_batch}
    sharding.check_batch(
        mesh, config.accumulate, **{f"{name}_per_batch": n for name, n in items.items()}
    )
    body = load_body(config.body)
    points_body = keypoint_body(body)
    batches = training_batches({**data, "body": body.name}, config.seed, config.model.image_size)
    validate = make_validation(config, body) if config.eval_every else None

    # Model and optimiser. Random streams hang on one key; nothing random is saved.
    model = MAED(**config.model)
    optimizer = make_optimizer(config.optimizer)
    schedule = make_schedule(config.optimizer, config.steps)
    init_key, step_key = (jax.random.fold_in(jax.random.key(config.seed), i) for i in range(2))

    def init(key):
        size = config.model.image_size
        variables = model.init(key, jnp.zeros((1, 1, size, size, 3)), points_body)
        return create_state(variables, optimizer, ema=config.ema > 0)

    abstract = jax.eval_shape(init, init_key)
    layout = sharding.state_shardings(mesh, abstract)
    abstract = jax.tree.map(lambda a, s: a.update(sharding=s), abstract, layout)
    train_step = jax.jit(
        make_train_step(
            model,
            points_body,
            optimizer,
            schedule,
            config.loss,
            accumulate=config.accumulate,
            ema=config.ema,
        ),
        donate_argnames="state",
        out_shardings=(layout, sharding.replicated(mesh)),
    )

    with Checkpoints(workdir, config.keep) as checkpoints:
        # Go on with what is there, start from an earlier stage, or start from nothing.
        if checkpoints.steps and (earlier := read_config(workdir)) is not None:
            check_same_run(earlier, config, workdir)
        if (restored := checkpoints.restore(abstract)) is not None:
            state, position = restored
            batches.set_state(position)
            print(f"going on from step {int(state.step)} in {workdir}", file=sys.stderr)
        else:
            earlier = read_variables(config.init_from) if config.init_from else None
            # Drawing a hundred arrays takes XLA long to optimise, and a moment to do.
            lazily = {"xla_backend_optimization_level": "0"} if on_cpu else None
            state = jax.jit(init, out_shardings=layout, compiler_options=lazily)(init_key)
            if earlier is not None:
                take_decoder = config.init_decoder
                taken, report = hand_over(state.variables, earlier[0], decoder=take_decoder)
                state = state.starting_from(taken)
                print(f"from {config.init_from}, step {earlier[1]}:\n{report}", file=sys.stderr)
        write_config(workdir, config)
        start = int(state.step)
        numbers = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        print(
            f"{numbers / 1e6:.1f} M parameters on {mesh.size} x {jax.devices()[0].device_kind}; "
            f"steps {start} to {config.steps}; TensorBoard: {workdir / 'tensorboard'}",
            file=sys.stderr,
        )
        if start >= config.steps:
            return 0

        with (
            Monitor(
                workdir,
                start=start,
                total=config.steps,
                log_every=config.log_every,
                items=items,
                max_skipped=config.max_skipped,
            ) as monitor,
            Prefetch(batches, lambda batch: sharding.to_devices(batch, mesh)) as prefetched,
            StopSignals() as stop,
        ):
            for step in range(start + 1, config.steps + 1):
                batch, position = next(prefetched)
                state, metrics = train_step(state, batch, step_key)
                monitor.record(step, metrics)

                last = step == config.steps or bool(stop.number)
                scores = None
                if validate is not None and step % config.eval_every == 0:
                    scores = validate(model, state.variables)
                    monitor.write(step, {f"validation/{k}": v for k, v in scores.items()})
                    monitor.restart_clock()
                if last or step % config.checkpoint_every == 0:
                    checkpoints.save(state, position, scores)
                if last:
                    monitor.flush(step)
                    break
    batches.close()
    if stop.number:
        print(f"stopped at step {step}, saved; the same command goes on", file=sys.stderr)
    return stop.number


def check_settings(config: ConfigDict) -> None:
    """Checks what would otherwise show only after compiling.

    Raises:
      UserError: settings that contradict each other.
    """
    from maed_jax.models.encoders import check_encoder

    model, data = config.model, config.data
    check_encoder(model)
    any_length = model.encoder == "cnn" or model.interpolate_time
    if data.clips_per_batch and data.clip_length > model.clip_length and not any_length:
        raise UserError(
            f"config.data.clip_length={data.clip_length} is more than the model's "
            f"config.model.clip_length={model.clip_length}"
        )
    for name in ("steps", "checkpoint_every", "accumulate"):
        if config[name] < 1:
            raise UserError(f"config.{name} must be at least 1, not {config[name]}")
    if not 0 <= config.ema < 1:
        raise UserError(f"config.ema must be at least 0 and below 1, not {config.ema}")


def make_validation(config: ConfigDict, body):
    """Returns `validate(model, variables) -> {metric: mean}` on the validation split, in mm."""
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.data.eval_clips import evaluation_clips
    from maed_jax.data.records import dataset_directory
    from maed_jax.estimator import Estimator
    from maed_jax.evaluation import scoring, table

    data, model = config.data, config.model
    clips = evaluation_clips(
        dataset_directory(data.data_dir, (data.clips or data.images)[0][0]),
        data.val_split,
        model.clip_length,
        model.image_size,
        stride=data.eval_interval,
        batch_size=max(1, 128 // model.clip_length),
        margin=data.augment.margin,
        limit=config.eval_windows,
    )
    points_body = keypoint_body(body, h36m=True)  # complains now if the regressor is missing

    def validate(model, variables) -> dict[str, float]:
        estimator = Estimator(model, variables, points_body)
        scores = scoring.evaluate(estimator, clips, body).scores
        row = table.rows("model", scores)[-1]
        return {name: row[name] for name in table.COLUMNS}

    return validate


class StopSignals:
    """While it lasts, the first Ctrl-C or SIGTERM is only noted, in `number`; a second one acts."""

    def __init__(self):
        self.number = 0
        self._before: dict = {}

    def _note(self, number, frame) -> None:
        self.number = number
        print("\nstopping after this step; once more to stop at once", file=sys.stderr)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        self._restore()


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
