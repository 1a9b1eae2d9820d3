"""`maed bench scale`: a training step on many devices, read from compiled programs.

The step is compiled, never run, for 1 to 256 simulated devices on this machine, with parameters and
optimiser state whole on each device ("replicated") or sharded over all of them ("fsdp"); clips per
device stay the same. Collectives and their bytes are read from the program's text; "sent" is what
each device sends if the devices form a ring.

From these it predicts, with published rates of chips and links (listed with their sources in
maed_jax/bench/pods.py), how long a step takes on up to 2048 chips, and in what fraction of it they
compute: at worst if the gradient is sent after it is computed, at best if it is sent meanwhile.
Chips are assumed to compute at a fraction of their peak: an H200 as measured on one, a TPU v5e as
its memory allows, a TPU v5p at 40 %. It also predicts what such a machine reads: frames, bytes, and
the cores that decode and augment them. None of these predictions was measured.
"""

from __future__ import annotations

import argparse

from maed_jax.arguments import positive
from maed_jax.bench import pods, record
from maed_jax.bench.model import numbers
from maed_jax.errors import UserError

LAYOUTS = ("replicated", "fsdp")
COUNTS = (1, 8, 64, 256, 512, 1024, 2048)
STORED, CORE = 20_000, 1600  # bytes of a stored crop, frames/s of a core: see `maed bench data`


def main(argv: list[str]) -> None:
    parser = record.parser("scale", __doc__)
    record.add_config(parser)
    count, rate = positive(int), positive(float)
    for name, metavar, kind, default, meaning in (
        ("devices", "N,...", str, "1,8,64,256", "numbers of devices to compile for"),
        ("clips", "N", count, 8, "clips per device"),
        ("frames", "N", count, 16, "frames per clip"),
        ("chips", "A,B", str, ",".join(pods.CHIPS), "chips to predict for"),
        ("core", "N", rate, CORE, "frames/s that one core reads"),
        ("stored", "N", rate, STORED, "bytes of a stored frame"),
    ):
        explained = f"{meaning}; default: {default}"
        parser.add_argument(
            f"--{name}", type=kind, default=default, metavar=metavar, help=explained
        )
    options, overrides = parser.parse_known_args(argv)
    record.check(options)
    devices, chips = numbers(options, "devices"), options.chips.split(",")
    if unknown := set(chips) - set(pods.CHIPS):
        raise UserError(f"there is no chip {unknown.pop()!r}; choose from {', '.join(pods.CHIPS)}")
    config = record.load(options.config, overrides)  # errors come before the work
    programs = compile_all(options, overrides, devices)
    predictions = predict_all(programs, chips, options, config.model.image_size)
    print(f"{text(programs)}\n\n{predicted_text(predictions)}")
    settings = {"model": config.model.to_dict(), "clips": options.clips, "frames": options.frames}
    record.write(options.json, "scale", programs, settings=settings, predictions=predictions)
    if options.plot:
        from maed_jax.bench.plots import plot_scale

        plot_scale(options.plot, predictions)


def compile_all(options: argparse.Namespace, overrides: list[str], devices: list[int]) -> list:
    """Returns a row for each layout and number of devices."""
    from maed_jax.bench.scale_program import compile_in_process

    rows = []
    for layout in LAYOUTS:
        for n in devices:
            record.say(f"compiling for {n} devices, {layout}")
            fsdp = n if layout == "fsdp" else 1
            found = compile_in_process(
                n, fsdp, options.clips, options.frames, options.config, overrides
            )
            rows.append({"name": f"{layout}, {n} devices", "layout": layout, **found})
    return rows


def predict_all(
    programs: list[dict], chips: list[str], options: argparse.Namespace, image_size: int
) -> list:
    """Returns a row per chip, layout and number of chips, from each layout's largest program."""
    rows = []
    for layout in LAYOUTS:
        program = max((p for p in programs if p["layout"] == layout), key=lambda p: p["devices"])
        payloads = {kind: total["payload"] for kind, total in program["collectives"].items()}
        for name in chips:
            for n in COUNTS:
                step = pods.predict(pods.CHIPS[name], n, program["operations"], payloads)
                fed = pods.input_rate(
                    step, options.clips, options.frames, image_size, options.stored, options.core
                )
                rows.append({
                    "name": f"{name}, {layout}, {n} chips",
                    "chip": name,
                    "layout": layout,
                    "chips": n,
                    "seconds": [step.fastest, step.slowest],
                    "efficiency": list(step.efficiency),
                    **fed,
                })  # fmt: skip
    return rows


def text(programs: list[dict]) -> str:
    """Formats the compiled programs' operations, collectives and memory for printing."""
    lines = []
    for row in programs:
        kinds = row["collectives"]
        lines.append([
            row["name"],
            f"{row['operations'] / 1e9:.4g}",
            "; ".join(f"{t['number']} {k} {t['payload'] / 1e6:.0f}" for k, t in kinds.items()),
            f"{sum(t['sent'] for t in kinds.values()) / 1e6:.0f}",
            f"{row['memory'].get('arguments', 0) / 1e6:.0f}",
            f"{row['compile seconds']:.0f} s",
        ])  # fmt: skip
    titles = ("per device", "G operations", "collectives, MB", "MB sent", "MB held", "compile time")
    return record.table(titles, lines)


def predicted_text(predictions: list[dict]) -> str:
    """Formats the predictions for printing."""
    lines = [
        [
            row["name"],
            "{:.1f} to {:.1f}".format(*(1e3 * s for s in row["seconds"])),
            "{:.2f} to {:.2f}".format(*row["efficiency"]),
            f"{row['frames/s']:.3g}",
            f"{row['stored bytes/s'] / 1e9:.2g}",
            f"{row['bytes/s to chips'] / 1e9:.2g}",
            f"{row['cores per chip']:.2g}",
        ]
        for row in predictions
    ]
    titles = (
        "predicted", "ms per step", "efficiency", "frames/s", "GB/s stored", "GB/s to chips",
        "cores per chip",
    )  # fmt: skip
    used = dict.fromkeys(row["chip"] for row in predictions)
    sources = "\n".join(f"{name}: {pods.CHIPS[name].source}" for name in used)
    return f"{record.table(titles, lines)}\n\n{sources}"


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
