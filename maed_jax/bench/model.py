"""`maed bench model`: the network's forward speed, compared with the machine's own matmuls.

The network has the paper's size and random weights, the clips are noise. Groups (--only):

  parts      the whole network on one batch of clips, and root, embedding, blocks, decoder, body
  lengths    the whole network, by frames per clip
  batches    the whole network, by clips per batch
  attention  one block, with separate (parallel) and joint (coupling) attention over space and time

"of matmul rate" is the fraction reached of the machine's own, measured between turns, counting the
operations of the original's network: operations skipped without changing the result count as speed.
"own operations" is the same, counting the operations of our own program. Brackets give the
interquartile range over rounds. On an accelerator eight calls are queued at a time.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from maed_jax.arguments import positive
from maed_jax.bench import record
from maed_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from maed_jax.bench.yardstick import Yardstick

GROUPS = ("parts", "lengths", "batches", "attention")
LENGTHS, BATCHES = "1,2,4,8,16,32,64", "1,2,4"
MODES = ("parallel", "coupling")


def main(argv: list[str]) -> None:
    parser = record.timed_parser("model", __doc__)
    record.add_config(parser)
    parser.add_argument("--only", default=",".join(GROUPS), metavar="A,B", help="default: all")
    parser.add_argument(
        "--clips", type=positive(int), default=1, help="clips per batch for parts; default: 1"
    )
    parser.add_argument(
        "--frames", type=positive(int), default=16, help="frames per clip; default: 16"
    )
    parser.add_argument("--lengths", default=LENGTHS, metavar="N,...", help=f"default: {LENGTHS}")
    parser.add_argument("--batches", default=BATCHES, metavar="N,...", help=f"default: {BATCHES}")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="dtype of the encoder")
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="skip cases that need more; default: the "
        "accelerator's memory, or 8",
    )  # fmt: skip
    options, overrides = parser.parse_known_args(argv)
    record.check(options)
    only = options.only.split(",")
    if unknown := set(only) - set(GROUPS):
        raise UserError(f"there is no group {unknown.pop()!r}; choose from {', '.join(GROUPS)}")
    lengths, batches = (numbers(options, name) for name in ("lengths", "batches"))
    if options.dtype:
        overrides = [*overrides, f"--config.model.dtype={options.dtype}"]
    config = record.load(options.config, overrides)
    result = measure(config, only, options, lengths, batches)
    print(text(result))
    settings = {name: getattr(options, name) for name in ("clips", "frames", "cpu")}
    settings["model"] = config.model.to_dict()
    record.write(options.json, "model", settings=settings, **result)
    if options.plot:
        from maed_jax.bench.plots import plot_model

        plot_model(options.plot, result["rows"])


def numbers(options: argparse.Namespace, name: str) -> list[int]:
    """Parses an option's comma-separated whole numbers above 0.

    Raises:
      UserError: they are something else.
    """
    text = getattr(options, name)
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise UserError(f"--{name} takes numbers such as 1,2,4, not {text!r}")
    return found


def measure(
    config: ConfigDict,
    only: list[str],
    options: argparse.Namespace,
    lengths: list[int],
    batches: list[int],
) -> dict[str, Any]:
    """Returns the rows of all groups, and the yardstick's summary."""
    from maed_jax.bench import network, original, programs
    from maed_jax.bench.yardstick import Yardstick
    from maed_jax.models.maed import for_inference

    net = network.make(config)
    net = net._replace(variables=for_inference(net.variables))
    yard = Yardstick(config.model.dtype, clock=record.clock_of(options))
    model, b, t = net.model, options.clips, options.frames
    settings = {"interpolate_time": True}
    case = functools.partial(Case, frames=t, clips=b)

    def parts() -> Iterator[Case]:
        work = network.forward(net, b, t, **settings)
        yield case("forward", work, b * original.forward(model, t))
        operations = original.parts(model, t)
        for name, work in network.parts(net, b, t).items():
            yield case(name, work, b * operations[name])

    def by_length() -> Iterator[Case]:
        for n in lengths:
            work = network.forward(net, 1, n, **settings)
            yield Case(f"forward, {n} frames", work, original.forward(model, n), n, 1)

    def by_batch() -> Iterator[Case]:
        for n in batches:
            work = network.forward(net, n, t, **settings)
            yield Case(f"forward, {n} clips", work, n * original.forward(model, t), t, n)

    def by_attention() -> Iterator[Case]:
        for mode in MODES:
            for n in lengths:
                work = network.block(net, mode, n)
                operations = original.block(model.clone(mode=mode), n)
                yield Case(f"block {mode}, {n} frames", work, operations, n, 1, mode)

    groups = dict(zip(GROUPS, (parts, by_length, by_batch, by_attention)))
    rows = []
    for name in only:
        record.say(f"{name}: compiling")
        rows += [{"group": name, **row} for row in group(groups[name](), yard, options)]
    return {"yardstick": yard.summary(), "peak bytes": programs.peak_bytes(), "rows": rows}


class Case(NamedTuple):
    name: str
    work: tuple
    """a function and its arguments"""
    original: int
    """operations of the original's network"""
    frames: int
    clips: int
    mode: str = ""


def group(
    cases: Iterable[Case], yard: Yardstick, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measures cases in turn. Those that need too much memory are compiled but not timed."""
    from maed_jax.bench import clock, programs

    compiled = [(case, programs.compile(case.work[0], *case.work[1])) for case in cases]
    limit = programs.memory_limit() if options.memory is None else options.memory * 2**30
    fitting = {
        case.name: program for case, program in compiled if program.memory.get("all", 0) < limit
    }
    seconds = record.clock_of(options)
    times = clock.rounds(fitting, options.rounds, yard.read, say=record.say, seconds=seconds)
    rows = []
    for case, program in compiled:
        facts = {
            "frames": case.frames,
            "clips": case.clips,
            "mode": case.mode,
            "bytes": program.count.bytes,
            "memory": program.memory,
            "compile seconds": round(program.compile_seconds, 2),
        }
        operations = {"operations": program.count.operations, "original": case.original}
        if case.name in times:
            row = record.row(case.name, times[case.name], yard.matmuls(), **operations)
        else:
            row = {"name": case.name, "operations": program.count.operations}
        rows.append(row | facts)
    return rows


def text(result: dict[str, Any]) -> str:
    """Formats a result for printing."""
    lines = []
    for row in result["rows"]:
        lines.append([
            row["name"],
            record.median_range(row["seconds"]) if "seconds" in row else "too large",
            f"{row.get('original operations', row['operations']) / 1e9:.4g}",
            record.median_range(row.get("original share"), "{:.2f}"),
            record.median_range(row.get("share"), "{:.2f}"),
            f"{row['bytes'] / 1e9:.3g}",
            f"{row['memory'].get('all', 0) / 2**30:.3g}",
            f"{row['compile seconds']:.3g} s",
        ])  # fmt: skip
    return f"{record.table(record.TITLES, lines)}\n\n{record.yardstick_lines(result['yardstick'])}"


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
