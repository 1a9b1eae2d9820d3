"""Ctrl-C at any moment of every command: one line, nothing half-written, the next start goes on.

    python scripts/prove_faults.py [VERB ...] [--workdir DIR] [--trials N] [--seed N]

Every verb runs on tiny data, nothing compiled before. First it is left alone, which says how long
it takes and what it leaves. Then it is started again and again in one other place, and each time
Ctrl-C comes at another random moment, to all processes of the command as from a terminal: it has
to end with status 130 (0 where it had come to its end) and one line of what happened, without a
traceback and without processes left behind; files of the results that are there have to be whole.
At last it is left to end there, and what it leaves has to be what the first run left. In its first
hundredths of a second Python itself is starting, and has its own words: these do not count.

Half an hour on two cores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import proof

STUDY = """
from maed_jax.training.config import load_config
def get_config(variant=None):
    c = load_config("ablation").copy_and_resolve_references().unlock()
    c.data.clips = c.data.images = (("mannequins/tiny", 1.0),)
    c.data.data_dir, c.checkpoint_every, c.study.seeds = {data!r}, 1, (0,)
    c.model.update(image_size=32, stage_sizes=(1,), width=16, dim=32, heads=2, depth=1)
    c.model.update(feature_dim=32, decoder_width=32)
    for stage in (c.study.stage1, c.study.stage2):
        stage.steps, stage.optimizer.warmup_steps = 3, 1
    return c
"""
NOISE = ("Traceback", "Exception ignored", "Fatal", "terminate called", "leaked", "core dumped")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and how what it left is told from what another left."""

    words: list[str]
    """`OUT` stands for where it writes"""
    results: tuple[str, ...] = ("*",)
    """patterns of the files that are the same whenever it comes to its end"""
    same: Callable[[Path, Path], bool] | None = None
    """compares two finished directories in place of file by file"""
    cold: bool = False
    """compiles everything anew each time: Ctrl-C comes while it compiles, more often than not"""


def commands(directory: Path) -> dict[str, Command]:
    here = {
        name: str(directory / name) for name in ("data", "run", "walk.mp4", "boxes.npz", "seen")
    }
    train = proof.command(directory / "OUT", steps=12, checkpoint_every=2)
    train = ["train", *train[train.index("-m") + 2 :]]
    train[train.index("--workdir") + 1] = "OUT"
    train = [w.replace(str(directory / "data"), here["data"]) for w in train]
    people = ["--checkpoint", here["run"], "--boxes", here["boxes.npz"], "--batch", "2"]
    table = str(directory / "table" / "results.json")
    measure = ["--checkpoint", here["run"], "--data_dir", here["data"], "--split", "validation"]
    return {
        "train": Command(train, same=same_training),
        "train, not compiled": Command(train, same=same_training, cold=True),
        "train with workers": Command([*train, "--config.data.workers=2"], same=same_training),
        "eval": Command(
            ["eval", *measure, "--out", "OUT", "--predictions", "OUT/frames.npz"],
        ),
        "predict": Command(
            ["predict", here["walk.mp4"], *people, "--out", "OUT", "--attention"]
            + ["--export", "glb,bvh"],
            results=("person_*", "people.glb", "attention_*", "overlay.mp4"),
        ),
        "ablate": Command(
            ["ablate", "--config", str(directory / "study.py"), "--workdir", "OUT"]
            + ["--rows", "ste-ktd"],
            results=("report.md",),
        ),
        "data build": Command(
            ["data", "build", "mannequins", "--config", "tiny", "--data_dir", "OUT"]
            + ["--processes", "2"],
            same=same_dataset,
        ),
        "data check": Command(["data", "check", tiny(directory), "--out", "OUT/sheet.png"]),
        "data video": Command(["data", "video", "--frames", "40", "--out", "OUT/video.mp4"]),
        "animate": Command(
            ["animate", "OUT", "--export", "glb,obj"], results=("*.glb", "*_obj/*.obj")
        ),
        "view": Command(["view", here["seen"], "--save", "OUT/page.html"]),
        "export": Command(["export", "--checkpoint", here["run"], "--out", "OUT/m.stablehlo"]),
        "compare": Command(["compare", table, table, "--json", "OUT/found.json"]),
        "body": Command(["body", "check", "mannequin"]),
        "bench": Command(["bench", "smpl", "--rounds", "1"]),
    }


def tiny(directory: Path) -> str:
    return str(next((directory / "data" / "mannequins" / "tiny").iterdir()))


def same_training(one: Path, other: Path) -> bool:
    """Parameters, optimiser, data position and the losses of all steps."""
    losses = [proof.losses(run).tolist() for run in (one, other)]
    return proof.digest(one, 12) == proof.digest(other, 12) and losses[0] == losses[1]


def same_dataset(one: Path, other: Path) -> bool:
    """All records; their files say the same in another order each time."""
    from maed_jax.data.records import Records, dataset_directory

    def records(place: Path, split: str) -> list[str]:
        found = Records(dataset_directory(place, "mannequins/tiny"), split)
        return [repr(found.tracks), *(repr(found[i]) for i in range(len(found)))]

    splits = ("train", "validation", "test")
    return all(records(one, split) == records(other, split) for split in splits)


def prepare(directory: Path) -> None:
    """What the verbs work on: dataset, checkpoint, video with boxes, prediction, table, study."""
    proof.with_dataset(directory)
    (directory / "study.py").write_text(STUDY.format(data=str(directory / "data")))
    if not (directory / "run").exists():
        proof.train(directory / "run", steps=2)
    known, cache, video = commands(directory), directory / "cache", directory / "walk.mp4"
    if not video.exists():
        finish(["data", "video", "--frames", "40", "--people", "1", "--out", str(video)], cache)
    truth = np.load(directory / "walk.truth.npz")["box"][0]
    np.savez(directory / "boxes.npz", frames=np.arange(len(truth)), boxes=truth)
    for name, verb in (("seen", "predict"), ("table", "eval")):
        if not (directory / name).exists():
            finish(located(known[verb].words, directory / name), cache)


def located(words: list[str], out: Path) -> list[str]:
    return [re.sub(r"^OUT\b", str(out), word) for word in words]


def finish(words: list[str], cache: Path) -> None:
    command = [sys.executable, "-m", "maed_jax.cli", *words]
    done = subprocess.run(command, env=environment(cache), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"maed {words[0]} failed:\n{done.stderr[-2000:]}")


def environment(cache: Path | None) -> dict[str, str]:
    """cache: of compiled programs."""
    return proof.environment() | {"JAX_COMPILATION_CACHE_DIR": str(cache or "")}


def start(words: list[str], cache: Path | None, log: Path) -> subprocess.Popen:
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "maed_jax.cli", *words],
            env=environment(cache), stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip


def left_behind(session: int) -> list[int]:
    """Processes of a session that has ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(status.parent.name))
    return found


class Outcome(NamedTuple):
    """How an interrupted command ended."""

    status: int
    seconds: float
    """from Ctrl-C to its end"""
    text: str
    left: list[int]
    """processes of its that go on"""


def interrupt(process: subprocess.Popen, log: Path, after: float) -> Outcome:
    """Sends Ctrl-C after so many seconds, to all processes of a command."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    begin = time.monotonic()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return Outcome(process.wait(), 90.0, log.read_text(), [])
    took, patience = time.monotonic() - begin, time.monotonic() + 10
    while left_behind(process.pid) and time.monotonic() < patience:
        time.sleep(0.1)
    return Outcome(process.returncode, took, log.read_text(), left_behind(process.pid))


def files(directory: Path, patterns: tuple[str, ...]) -> set[Path]:
    found = {path for pattern in patterns for path in directory.glob(pattern) if path.is_file()}
    return {path.relative_to(directory) for path in found if not path.name.startswith(".")}


def differing(one: Path, other: Path, names: set[Path]) -> list[str]:
    """Files with other contents; where a result names its place the place is left out."""

    def same(name: Path) -> bool:
        if name.suffix == ".npz":
            a, b = (dict(np.load(place / name)) for place in (one, other))
            return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)
        if name.suffix in (".json", ".html", ".md", ".csv", ".txt"):
            a, b = ((p / name).read_text().replace(str(p), "") for p in (one, other))
            return a == b
        return filecmp.cmp(one / name, other / name, shallow=False)

    return [str(name) for name in sorted(names) if not same(name)]


def prove(directory: Path, name: str, command: Command, trials: int, chance: random.Random) -> str:
    alone, other = (directory / f"{name.replace(' ', '_')}.{w}" for w in ("alone", "interrupted"))
    log = other.with_suffix(".log")
    for place in (alone, other):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(directory / "seen", place) if name == "animate" else place.mkdir()
    cache = None if command.cold else directory / "cache"
    begin = time.monotonic()
    process = start(located(command.words, alone), cache, log)
    ended = process.wait()
    takes = time.monotonic() - begin
    proof.verdict(ended == 0, f"{name}: left alone it takes {takes:.1f} s")
    wanted = files(alone, command.results)
    outcomes, odd, early = [], 0, 0
    for trial in range(trials):
        # One in three comes while it starts and imports.
        latest = min(3.0, takes) if trial % 3 == 0 else 1.05 * takes
        after = chance.uniform(0.05, latest)
        found = interrupt(start(located(command.words, other), cache, log), log, after)
        last = (found.text.strip().splitlines() or [""])[-1]
        # With our line it is a command that crashed after it, which is nothing of Python's start.
        heard = "/maed_jax/cli.py" in found.text or "maed: " in found.text
        if not heard and found.status not in (0, 130):
            print(f"  after {after:.2f} s: Python itself was starting", flush=True)
            early += 1
            continue
        outcomes.append(found)
        wrong = [word for word in NOISE if word in found.text]
        wrong += [f"process {pid} goes on" for pid in found.left]
        if not command.same:
            here = files(other, command.results) & wanted
            wrong += [f"{file} is not whole" for file in differing(alone, other, here)]
        if found.status not in (0, 130):
            wrong.append(f"status {found.status}")
        elif found.status == 130 and not re.match("maed: |stopped", last):
            wrong.append("no line that says so")
        print(
            f"  after {after:.2f} s: {found.status} in {found.seconds:.1f} s: {last[:90]}",
            flush=True,
        )
        if wrong:
            odd += 1
            kept = other.with_suffix(f".{trial}.txt")
            kept.write_text(found.text)
            print(f"  odd: {', '.join(wrong)}; its output is in {kept}", flush=True)
        status = found.status
        if status == 0 and name != "animate":
            shutil.rmtree(other)
            other.mkdir()
    ended = start(located(command.words, other), cache, log).wait()
    proof.verdict(
        ended == 0, f"{name}: left alone after {trials} interruptions it comes to its end"
    )
    if command.same:
        equal = command.same(alone, other)
    else:
        litter = files(other, ("**/*",)) - files(alone, ("**/*",))
        equal = files(other, command.results) == wanted and not differing(alone, other, wanted)
        equal = equal and not litter
        print(f"  litter: {sorted(map(str, litter))}" if litter else "  no litter", flush=True)
    proof.verdict(equal, f"{name}: what it leaves is what it would have left at once")
    statuses = [outcome.status for outcome in outcomes]
    longest = max((outcome.seconds for outcome in outcomes), default=0.0)
    return (
        f"| {name} | {takes:.1f} | {early} | {statuses.count(130)} | {statuses.count(0)} | {odd} | "
        f"{longest:.1f} |"
    )


def prove_interrupts(directory: Path, verbs: list[str], trials: int, seed: int) -> None:
    prepare(directory)
    known, rows = commands(directory), []
    for name in verbs or known:
        chance = random.Random(f"{seed} {name}")
        rows.append(prove(directory, name, known[name], trials, chance))
    print("| command | takes, s | too early | interrupted | ended | odd | longest wait, s |")
    print("\n".join(["| --- | --- | --- | --- | --- | --- | --- |", *rows]))


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "verbs", nargs="*", metavar="VERB", help='such as "data build"; default all'
    )
    parser.add_argument("--workdir", default="proofs/faults", help="default: proofs/faults")
    parser.add_argument("--trials", type=int, default=12, help="of each verb; default: 12")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it
    place = Path(options.workdir).absolute()
    place.mkdir(parents=True, exist_ok=True)
    prove_interrupts(place, options.verbs, options.trials, options.seed)
