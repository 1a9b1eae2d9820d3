"""`maed bench train`: the speed of a training step, compared with the machine's own matmuls.

The network has the paper's size and random weights. Reading data is left out: `maed bench data`
measures that. Groups (--only):

  step   loss, gradient and optimiser on a batch of noise with all labels: one row without and one
         with recomputing the encoder's blocks for the gradient (config.model.remat)
  parts  root and blocks, each with its gradient

"GiB memory" is what the compiled program needs on a device: parameters, optimiser, batch and what
is stored for the gradient.

"of matmul rate" is the fraction reached of the machine's own, measured between steps, counting the
operations of the original's network (three times forward, minus the gradient of the pixels). "own
operations" is the same, counting the operations of our own program, including what it recomputes.
Brackets give the interquartile range over rounds. On an accelerator eight steps are queued at a
time; training, too, does not wait for each one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from maed_jax.arguments import from_zero, positive
from maed_jax.bench import record
from maed_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from maed_jax.bench.yardstick import Yardstick

GROUPS = ("step", "parts")


def main(argv: list[str]) -> None:
    parser = record.timed_parser("train", __doc__)
    record.add_config(parser)
    parser.add_argument("--clips", type=positive(int), default=1, help="per batch; default: 1")
    parser.add_argument("--frames", type=positive(int), default=16, help="per clip; default: 16")
    parser.add_argument(
        "--images", type=from_zero, default=0, help="single images per batch; default: 0"
    )
    parser.add_argument("--only", default=",".join(GROUPS), metavar="A,B", help="default: both")
    parser.add_argument("--remat", default="false,true", metavar="A,B", help="default: false,true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="dtype of the encoder")
    options, overrides = parser.parse_known_args(argv)
    record.check(options)
    only = options.only.split(",")
    if unknown := set(only) - set(GROUPS):
        raise UserError(f"there is no group {unknown.pop()!r}; choose from {', '.join(GROUPS)}")
    if options.dtype:
        overrides = [*overrides, f"--config.model.dtype={options.dtype}"]
    configs = {
        remat: record.load(options.config, [*overrides, f"--config.model.remat={remat}"])
        for remat in options.remat.split(",")
    }
    result = measure(configs, only, options)
    print(text(result))
    config = next(iter(configs.values()))
    settings = {name: getattr(options, name) for name in ("clips", "frames", "images", "cpu")}
    settings["model"] = config.model.to_dict()
    record.write(options.json, "train", settings=settings, **result)
    if options.plot:
        from maed_jax.bench.plots import plot_train

        plot_train(options.plot, result["rows"])


def measure(
    configs: dict[str, ConfigDict], only: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Returns the rows of both groups, and the yardstick's summary."""
    from maed_jax.bench.yardstick import Yardstick

    config = next(iter(configs.values()))
    yard = Yardstick(config.model.dtype, clock=record.clock_of(options))
    rows = measure_steps(configs, yard, options) if "step" in only else []
    rows += measure_parts(config, yard, options) if "parts" in only else []
    return {"yardstick": yard.summary(), "rows": rows}


def measure_parts(
    config: ConfigDict, yard: Yardstick, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measures root and blocks, on as many clips and frames as in a step, without its images."""
    from maed_jax.bench import clock, network, original, programs
    from maed_jax.compiler_options import for_training

    net, b, t = network.make(config), options.clips, options.frames
    parts, original_parts = network.parts(net, b, t), original.step_parts(net.model, t)
    record.say("parts: compiling")
    compiler_options = for_training(net.model.dim, b * t)
    compiled = {
        f"{name} with gradient": programs.compile(function, *arguments, options=compiler_options)
        for name, by in {"root": (0,), "blocks": (0, 1)}.items()
        for function, arguments in [network.with_gradient(parts[name], *by)]
    }
    seconds = record.clock_of(options)
    times = clock.rounds(compiled, options.rounds, yard.read, say=record.say, seconds=seconds)
    rows = []
    for name, program in compiled.items():
        facts = {"memory": program.memory, "compile seconds": round(program.compile_seconds, 2)}
        facts |= {"bytes": program.count.bytes, "peak bytes": programs.peak_bytes()}
        operations = program.count.operations, b * original_parts[name.split()[0]]
        rows.append(record.row(name, times[name], yard.matmuls(), *operations) | facts)
    return rows


def measure_steps(
    configs: dict[str, ConfigDict], yard: Yardstick, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measures a step with each setting of remat, one after the other: each has its own state."""
    from maed_jax.bench import clock, original, programs, steps

    measured = []
    for remat, config in configs.items():
        of_clips = original.step(config.model, options.frames) * options.clips
        of_images = original.step(config.model, 1) * options.images
        name = f"step, remat {remat}"
        record.say(f"{name}: compiling")
        step = steps.Step(config, options.clips, options.frames, options.images)
        compiled, seconds = programs.compile_cold(
            step.jitted, *step.arguments(), options=step.options
        )
        run = _repeated_step(step, compiled)
        program = programs.Program(run, step.count, seconds, programs.memory(compiled))
        seconds_of = record.clock_of(options)
        times = clock.rounds(
            {name: program}, options.rounds, yard.read, say=record.say, seconds=seconds_of
        )[name]
        facts = {"memory": program.memory, "compile seconds": round(seconds, 2)}
        facts |= {"bytes": step.count.bytes, "peak bytes": programs.peak_bytes()}
        operations = step.count.operations, of_clips + of_images
        measured.append((name, times, operations, facts))
        del step, compiled, run, program
    return [
        record.row(name, times, yard.matmuls(), *operations) | facts
        for name, times, operations, facts in measured
    ]


def _repeated_step(step: Any, compiled: Callable) -> Callable[[], Any]:
    """Returns a function that runs one step from the state that the previous one returned."""

    def run() -> Any:
        step.state, metrics = compiled(*step.arguments())
        return step.state, metrics

    return run


def text(result: dict[str, Any]) -> str:
    """Formats a result for printing."""
    lines = [
        [
            row["name"],
            record.median_range(row["seconds"]),
            f"{row['original operations'] / 1e9:.4g}",
            record.median_range(row["original share"], "{:.2f}"),
            record.median_range(row["share"], "{:.2f}"),
            f"{row['bytes'] / 1e9:.3g}",
            f"{row['memory'].get('all', 0) / 2**30:.3g}",
            f"{row['compile seconds']:.3g} s",
        ]
        for row in result["rows"]
    ]
    return f"{record.table(record.TITLES, lines)}\n\n{record.yardstick_lines(result['yardstick'])}"


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
