"""`maed bench data`: how many frames a second one core reads, crops, augments and labels.

Every reader works on made-up photographs (see `bench.pictures`) that lie on disk, in one thread,
with the crop of a person of 45 % of a whole frame's height. In each round all readers have their
turn, so that what else the machine does hits all of them; times are CPU times.

The original's reader, which is rebuilt here, opens a file by Pillow, warps it to 224 x 224 and
normalises it on the CPU; it gives pictures alone. Ours give clips of 16 frames with labels and the
released augmentation. "frames" are files as they are found, "frames of videos" those that
`maed data build` encodes, of quality 95.

With --dataset it measures batches of clips of a prepared dataset instead, by the clock.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from maed_jax.bench.readers import CLIP_LENGTH, SIZE, Reader, make_readers
from maed_jax.errors import UserError
from maed_jax.whole_files import whole_file

TURN = 0.2  # seconds that a reader has in a round, at least


def main(argv: list[str]) -> None:
    summary, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="maed bench data",
        description=summary.partition(": ")[2].capitalize(),
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, help="default: 9, some 20 seconds")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    dataset = parser.add_argument_group("batches of a prepared dataset")
    dataset.add_argument("--dataset", metavar="DIR", help="its folder")
    dataset.add_argument("--split", default="train")
    dataset.add_argument("--interval", type=int, default=8, help="between frames of a clip")
    dataset.add_argument("--clips_per_batch", type=int, default=8)
    dataset.add_argument("--workers", type=int, default=0, help="processes; 0: threads")
    dataset.add_argument("--threads", type=int, default=1, help="in each process")
    dataset.add_argument("--seconds", type=float, default=10.0)
    options = vars(parser.parse_args(argv))
    path, folder, rounds = (options.pop(name) for name in ("json", "dataset", "rounds"))
    if rounds < 1 or options["threads"] < 1 or options["workers"] < 0:
        raise UserError("--rounds and --threads are at least 1, --workers at least 0")
    if path and not Path(path).absolute().parent.is_dir():
        raise UserError(f"there is no folder for --json {path}")
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            pillow = importlib.util.find_spec("PIL") is not None
            _say("making pictures" if pillow else "without the original's reader: no Pillow here")
            result = {"readers": compare(make_readers(Path(temporary), pillow), rounds)}
        print(table(result["readers"]))
    else:
        result = {"batches": measure_batches(folder, **options)}
        print("\n".join(f"{name:<24}{value:>10}" for name, value in result["batches"].items()))
    if path:
        machine = {"processor": processor(), "python": platform.python_version()}
        with whole_file(path, "w") as file:
            file.write(json.dumps({"machine": machine, **result}, indent=1) + "\n")


def compare(readers: list[Reader], rounds: int) -> list[dict]:
    """Measures all readers in turn, `rounds` times: a row for each, as `table` shows it."""
    speeds = {reader.name: [] for reader in readers}
    for reader in readers:
        reader.read(0)
    for number in range(rounds):
        _say(f"round {number + 1} of {rounds}")
        for reader in readers:
            speeds[reader.name].append(_speed(reader.read, number))
    rows = []
    for reader in readers:
        own = np.array(speeds[reader.name])
        row = {"name": reader.name, "kilobytes": reader.kilobytes, **_summary("frames/s", own)}
        if reader.original in speeds:
            row |= _summary("ratio", own / speeds[reader.original])
        rows.append(row)
    return rows


def _speed(read: Callable[[int], int], number: int) -> float:
    """Frames per second of this thread's CPU time."""
    frames, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < TURN:
        frames += read(1000 * number + frames)
    return frames / spent


def _summary(name: str, values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return {name: middle, f"{name} low": low, f"{name} high": high}


def table(rows: list[dict]) -> str:
    """Medians over the rounds; the middle half of the rounds lies within the brackets."""
    lines = [f"{'reader':<34}{'kB':>5}{'frames/s/core':>22}{'times the original':>24}"]
    for row in rows:
        speed = "{:8.0f} [{:.0f}, {:.0f}]".format(*_three(row, "frames/s"))
        ratio = "{:8.2f} [{:.2f}, {:.2f}]".format(*_three(row, "ratio")) if "ratio" in row else ""
        lines.append(f"{row['name']:<34}{row['kilobytes']:>5.0f}{speed:>22}{ratio:>24}")
    return "\n".join(lines)


def _three(row: dict, name: str) -> Iterator[float]:
    return (row[key] for key in (name, f"{name} low", f"{name} high"))


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
    """Clips per second by the clock, from a prepared dataset to batches.

    Raises:
      UserError: no such dataset.
    """
    from maed_jax.data.augment import Augment
    from maed_jax.data.pipeline import TrainingBatches, clip_dataset

    clips = clip_dataset(
        folder,
        "",
        split,
        seed=0,
        image_size=SIZE,
        clip_length=CLIP_LENGTH,
        interval=interval,
        augment=Augment(),
    )
    parts = {"clips": (clips, clips_per_batch)}
    batches = TrainingBatches(parts, workers=workers, threads=threads)
    for _ in range(2):  # threads and processes start, and fill what they prepare ahead
        next(batches)
    _say(f"measuring for {seconds:g} seconds")
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        next(batches)
        count += clips_per_batch
    batches.close()
    cores = max(workers, 1) * threads
    return {
        "clips/s": round(count / spent, 2),
        "frames/s": round(count * CLIP_LENGTH / spent, 1),
        "frames/s/core": round(count * CLIP_LENGTH / spent / cores, 1),
        "cores": cores,
    }


def processor() -> str:
    """The name of the processor and the number of its cores that may be used."""
    import os

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
