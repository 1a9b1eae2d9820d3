"""`maed bench data`: how many frames per second one core reads, crops, augments and labels.

Every reader works in one thread on synthetic photographs (maed_jax/bench/synthetic.py) on disk,
cropping a person of 45 % of the frame's height. In each round every reader has a turn, so that
other load affects all of them alike; times are CPU times.

The original's reader, rebuilt here, opens a file with Pillow, warps it to 224 x 224 and normalises
it on the CPU; it returns images only. Ours return clips of 16 frames with labels and the released
augmentation. "frames" are files as found, "frames of videos" are those that `maed data build`
encodes at quality 95.

With --dataset it measures batches of clips of a prepared dataset instead, in wall-clock time.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from maed_jax.arguments import from_zero, positive
from maed_jax.bench import record
from maed_jax.bench.clock import TURN, spread
from maed_jax.bench.readers import CLIP_LENGTH, SIZE, Reader, make_readers
from maed_jax.errors import UserError


def main(argv: list[str]) -> None:
    parser = record.parser("data", __doc__)
    record.add_rounds(parser, 9)  # about 20 seconds
    dataset = parser.add_argument_group("batches of a prepared dataset")
    dataset.add_argument("--dataset", metavar="DIR", help="its folder")
    dataset.add_argument("--split", default="train", help="default: train")
    for name, kind, default, meaning in (
        ("interval", positive(int), 8, "interval between the frames of a clip"),
        ("clips_per_batch", positive(int), 8, "clips per batch"),
        ("workers", from_zero, 0, "worker processes; 0: threads of this one"),
        ("threads", positive(int), 1, "threads per process"),
        ("seconds", positive(float), 10, "how long to measure"),
    ):
        explained = f"{meaning}; default: {default}"
        dataset.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=explained)
    options = parser.parse_args(argv)
    record.check(options)
    if options.plot and options.dataset:
        raise UserError("--plot compares readers: leave out --dataset, or --plot")
    if options.dataset is None:
        with tempfile.TemporaryDirectory() as temporary:
            pillow = importlib.util.find_spec("PIL") is not None
            record.say(
                "making images" if pillow else "skipping the original's reader: no Pillow installed"
            )
            rows = compare(make_readers(Path(temporary), pillow), options.rounds)
        print(table(rows))
    else:
        names = ("split", "interval", "clips_per_batch", "workers", "threads", "seconds")
        settings = {name: getattr(options, name) for name in names}
        rows = [{"name": "batches", **measure_batches(options.dataset, **settings)}]
        print("\n".join(f"{name:<24}{value:>10}" for name, value in rows[0].items()))
    record.write(options.json, "data", rows)
    if options.plot:
        from maed_jax.bench.plots import plot_bars

        plot_bars(options.plot, rows, "frames/s", "frames per second and core")


def compare(readers: list[Reader], rounds: int) -> list[dict]:
    """Measures all readers in turn, `rounds` times; returns a row for each, see `table`."""
    speeds = {reader.name: [] for reader in readers}
    for reader in readers:
        reader.read(0)
    for number in range(rounds):
        record.say(f"round {number + 1} of {rounds}")
        for reader in readers:
            speeds[reader.name].append(_speed(reader.read, number))
    rows = []
    for reader in readers:
        own = speeds[reader.name]
        row = {"name": reader.name, "kilobytes": reader.kilobytes, "frames/s": spread(own)}
        if reader.original in speeds:
            row["ratio"] = spread(a / b for a, b in zip(own, speeds[reader.original]))
        rows.append(row)
    return rows


def _speed(read: Callable[[int], int], number: int) -> float:
    """Returns frames per second of this thread's CPU time."""
    frames, start = 0, time.thread_time()
    while (elapsed := time.thread_time() - start) < TURN:
        frames += read(1000 * number + frames)
    return frames / elapsed


def table(rows: list[dict]) -> str:
    """Formats the rows: medians over the rounds, with the interquartile range in brackets."""
    lines = [
        [
            row["name"],
            f"{row['kilobytes']:.0f}",
            record.median_range(row["frames/s"], "{:.0f}"),
            record.median_range(row.get("ratio"), "{:.2f}"),
        ]
        for row in rows
    ]
    return record.table(("reader", "kB", "frames/s/core", "times the original"), lines)


def measure_batches(
    folder: str,
    *,
    split: str,
    interval: int,
    clips_per_batch: int,
    workers: int,
    threads: int,
    seconds: float,
) -> dict[str, float]:
    """Measures clips per second of wall-clock time, from a prepared dataset to batches.

    Raises:
      UserError: there is no such dataset.
    """
    from maed_jax.data.augment import Augment
    from maed_jax.data.batches import TrainingBatches
    from maed_jax.data.pipeline import endless
    from maed_jax.data.records import Records, dataset_directory
    from maed_jax.data.samples import Clips, Loader

    source = Clips(Records(dataset_directory(folder), split), CLIP_LENGTH, interval)
    parts = {"clips": (endless(Loader(source, SIZE, Augment()), seed=0), clips_per_batch)}
    batches = TrainingBatches(parts, workers=workers, threads=threads)
    for _ in range(2):  # lets threads and processes start and fill their buffers
        next(batches)
    record.say(f"measuring for {seconds:g} seconds")
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(batches)
        count += clips_per_batch
    batches.close()
    cores = max(workers, 1) * threads
    return {
        "clips/s": round(count / elapsed, 2),
        "frames/s": round(count * CLIP_LENGTH / elapsed, 1),
        "frames/s/core": round(count * CLIP_LENGTH / elapsed / cores, 1),
        "cores": cores,
    }


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
