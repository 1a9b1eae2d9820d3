"""Sends Ctrl-C at any moment of every command: one line, no partial files, and it can resume.

    python scripts/prove_faults.py [VERB ...] [--kill] [--workdir DIR] [--trials N] [--seed N]

Every verb runs on tiny data. An undisturbed run shows how long it takes, when its work begins and
what it writes. The command is then started repeatedly in another directory, and each time Ctrl-C is
sent to all of its processes, as from a terminal, at another random moment: every fourth time before
its work begins, every fourth time when it has begun to write something, otherwise at any moment
from the beginning of its work to its end. It must exit with status 130 (0 if it had finished) and
one line that says what happened, without a traceback and without leaving processes behind; result
files that exist must be complete. Finally it is left to finish there, and its results must equal
those of the first run. Interruptions in the first hundredths of a second, while Python itself is
starting and prints its own messages, do not count. With `--kill`, the command's first process is
killed instead, and need not print anything.

Takes an hour on two cores.
"""

from __future__ import annotations

import filecmp
import itertools
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import proof
from interrupts import Command, Start, environment, interrupt, located

STUDY = """
from maed_jax.runs.config import load_config
def get_config(variant=None):
    c = load_config("ablation").copy_and_resolve_references().unlock()
    c.data.clips = c.data.images = (("mannequins/tiny", 1.0),)
    c.data.data_dir, c.checkpoint_every, c.study.seeds = {data!r}, 1, (0,)
    c.data.eval_interval = 2  # the tiny dataset has short tracks
    c.model.update(image_size=32, stage_sizes=(1,), width=16, dim=32, heads=2, depth=1)
    c.model.update(feature_dim=32, decoder_width=32)
    for stage in (c.study.stage1, c.study.stage2):
        stage.steps, stage.optimizer.warmup_steps = 3, 1
    return c
"""
STEPS = 40
NOISE = ("Traceback", "Exception ignored", "Fatal", "terminate called", "leaked", "core dumped")


def commands(directory: Path) -> dict[str, Command]:
    here = {
        name: str(directory / name) for name in ("data", "run", "walk.mp4", "boxes.npz", "seen")
    }
    train = proof.command(directory / "OUT", steps=STEPS, checkpoint_every=2)
    train = ["train", *train[train.index("-m") + 2 :]]
    train[train.index("--workdir") + 1] = "OUT"
    train = [w.replace(str(directory / "data"), here["data"]) for w in train]
    people = ["--checkpoint", here["run"], "--boxes", here["boxes.npz"], "--batch", "2"]
    table = str(directory / "table" / "results.json")
    measure = ["--checkpoint", here["run"], "--data_dir", here["data"], "--split", "validation"]
    workers = [*train, "--config.data.workers=2"]
    steps = {"same": same_training, "beat": '"step"', "log": "metrics.jsonl"}
    return {
        "train": Command(train, **steps),
        "train, twice": Command(train, **steps, twice=True),
        "train, not compiled": Command(train, same=same_training, cold=True),
        "train with workers": Command(workers, **steps),
        "eval": Command(
            ["eval", *measure, "--out", "OUT", "--predictions", "OUT/frames.npz"],
            beat="evaluate: ",
        ),
        "table1": Command(
            ["table1", *measure, "--data_dir", str(directory / "benchmarks"), "--out", "OUT"],
            beat="evaluate: ",
        ),
        "predict": Command(
            ["predict", here["walk.mp4"], *people, "--out", "OUT", "--attention"]
            + ["--export", "glb,bvh"],
            results=("person_*", "people.glb", "attention_*", "overlay.mp4"),
            beat="reconstructing",
        ),
        "ablate": Command(
            ["ablate", "--config", str(directory / "study.py"), "--workdir", "OUT"]
            + ["--rows", "ste-ktd"],
            same=same_study,
            beat="M parameters on",
            log="ste-ktd/0/train.log",
        ),
        "data build": Command(
            ["data", "build", "mannequins", "--config", "tiny", "--data_dir", "OUT"]
            + ["--processes", "2"],
            same=same_dataset,
            beat="rendering: ",
        ),
        "data check": Command(["data", "check", tiny(directory), "--out", "OUT/sheet.png"]),
        "data video": Command(["data", "video", "--frames", "40", "--out", "OUT/video.mp4"]),
        "animate": Command(
            ["animate", "OUT", "--export", "glb,obj"], results=("*.glb", "*_obj/*.obj")
        ),
        "view": Command(["view", here["seen"], "--save", "OUT/page.html"]),
        "export": Command(["export", "--checkpoint", here["run"], "--out", "OUT/m.stablehlo"]),
        "convert": Command(
            ["convert", str(directory / "resnet50.npz"), "--out", "OUT/run"], same=same_weights
        ),
        "compare": Command(["compare", table, table, "--json", "OUT/found.json"]),
        "body": Command(["body", "check", "mannequin"]),
        "bench": Command(["bench", "smpl", "--rounds", "1"]),
    }


def tiny(directory: Path) -> str:
    return str(next((directory / "data" / "mannequins" / "tiny").iterdir()))


def same_training(one: Path, other: Path) -> bool:
    """Compares parameters, optimiser, data position and the losses of all steps."""
    losses = [proof.losses(run).tolist() for run in (one, other)]
    return proof.digest(one, STEPS) == proof.digest(other, STEPS) and losses[0] == losses[1]


def same_study(one: Path, other: Path) -> bool:
    """Compares networks of both stages and all measurements except seconds; needs a report."""

    def outcome(place: Path) -> tuple:
        run = place / "ste-ktd" / "0"
        result = json.loads((run / "result.json").read_text()) | {"seconds": None}
        losses = result.pop("last_losses")  # means of means if a run was interrupted
        losses = {stage: float(f"{loss:.5g}") for stage, loss in losses.items()}
        return [proof.digest(run / stage, 3) for stage in ("stage1", "stage2")], result, losses

    return outcome(one) == outcome(other) and (other / "report.md").exists()


def same_weights(one: Path, other: Path) -> bool:
    """Compares parameters and the report, and checks that there is nothing else."""
    same = proof.digest(one / "run", 0) == proof.digest(other / "run", 0)
    said = [(place / "run" / "conversion.txt").read_text() for place in (one, other)]
    return same and said[0] == said[1] and len(list(other.iterdir())) == 1


def same_dataset(one: Path, other: Path) -> bool:
    """Compares all records; files have the same content in a different order each time."""
    from maed_jax.data.records import Records, dataset_directory

    def records(place: Path, split: str) -> list[str]:
        found = Records(dataset_directory(place, "mannequins/tiny"), split)
        return [repr(found.tracks), *(repr(found[i]) for i in range(len(found)))]

    splits = ("train", "validation", "test")
    return all(records(one, split) == records(other, split) for split in splits)


def prepare(directory: Path) -> None:
    """Makes what the verbs need: datasets, weights, checkpoint, video, prediction, table, study."""
    proof.with_dataset(directory)
    if not (benchmark := directory / "benchmarks" / "threedpw" / "crops" / "1.0.0").exists():
        shutil.copytree(tiny(directory), benchmark)  # mannequins under 3DPW's name
    if not (directory / "resnet50.npz").exists():
        write_resnet(directory / "resnet50.npz")
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


def write_resnet(path: Path) -> None:
    """Writes noise as a torchvision ResNet-50, the smallest network that `maed convert` takes."""
    from maed_jax.models.maed import variable_shapes
    from maed_jax.weights.imagenet import torch_encoder_entry
    from maed_jax.weights.layouts import paper_model

    model, rng = paper_model("cnn", "parallel", "ktd", {}), np.random.default_rng(0)
    encoder = [(p, s) for p, s in variable_shapes(model).items() if p[1] == "encoder"]
    entries = [torch_encoder_entry(path[1:], shape, model.heads) for path, shape in encoder]
    np.savez(path, **{e.names[0]: rng.random(e.shape, np.float32) for e in entries})


def finish(words: list[str], cache: Path) -> None:
    command = [sys.executable, "-m", "maed_jax.cli", *words]
    done = subprocess.run(command, env=environment(cache), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"maed {words[0]} failed:\n{done.stderr[-2000:]}")


def files(directory: Path, patterns: tuple[str, ...]) -> set[Path]:
    found = {path for pattern in patterns for path in directory.glob(pattern) if path.is_file()}
    return {path.relative_to(directory) for path in found if not path.name.startswith(".")}


def everything(directory: Path) -> set[Path]:
    return {path.relative_to(directory) for path in directory.rglob("*")}


def differing(one: Path, other: Path, names: set[Path]) -> list[str]:
    """Returns the files whose contents differ, ignoring the directory's own path in them."""

    def same(name: Path) -> bool:
        if name.suffix == ".npz":
            a, b = (dict(np.load(place / name)) for place in (one, other))
            return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)
        if name.suffix in (".json", ".html", ".md", ".csv", ".txt"):
            a, b = ((p / name).read_text().replace(str(p), "") for p in (one, other))
            return a == b
        return filecmp.cmp(one / name, other / name, shallow=False)

    return [str(name) for name in sorted(names) if not same(name)]


def prove(
    directory: Path, name: str, command: Command, trials: int, chance: random.Random, kill: bool
) -> str:
    alone, other = (directory / f"{name.replace(' ', '_')}.{w}" for w in ("alone", "interrupted"))
    log = other.with_suffix(".log")
    cache = None if command.cold else directory / "cache"

    def clear(place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(directory / "seen", place) if name == "animate" else place.mkdir()

    clear(other), clear(alone)
    if not command.cold:
        Start(command, alone, cache, log).process.wait()  # compiles all its programs
        clear(alone)
    run = Start(command, alone, cache, log)
    begins = run.wait_for(1) if command.beat else 0.0
    ended = run.process.wait()
    takes = time.monotonic() - run.begin
    said = f"{name}: undisturbed it takes {takes:.1f} s, its work begins after {begins:.1f} s"
    proof.verdict(ended == 0, said)
    wanted, beats = files(alone, command.results), max(1, run.beats)
    outcomes, odd, early = [], 0, 0
    for trial in itertools.count():
        hits = sum(outcome.where in ("working", "writing") for outcome in outcomes)
        if hits == trials or trial == 4 * trials:
            break
        run = Start(command, other, cache, log)
        # Waiting for a fixed time would miss if the load on the machine has changed.
        if trial % 4 == 0 and command.beat:
            run.wait_for(1, most=chance.uniform(0.05, begins))
            after = 0.0
        elif trial % 4 == 2:
            run.wait_for_writing()
            after = chance.uniform(0, 0.1)
        elif command.beat:
            run.wait_for(chance.randint(1, max(1, beats - run.before)))
            after = chance.uniform(0, (takes - begins) / beats)
        else:
            after = chance.uniform(0.05, min(3.0, takes) if trial % 4 == 0 else takes)
        more = chance.uniform(0, 1) if command.twice and not kill else None
        found = interrupt(run, log, after, more=more, kill=kill)
        kept = other.with_suffix(f".{trial}.txt")
        last = (found.text.strip().splitlines() or [""])[-1]
        # With our line or our code in the output, it did not fail in Python's own startup.
        heard = "/maed_jax/cli.py" in found.text or "maed: " in found.text
        if not (heard or kill) and found.status not in (0, 130):
            print(
                f"  after {after:.2f} s: {found.status}, while Python or libraries were starting: "
                f"{last[:90]}",
                flush=True,
            )
            kept.write_text(found.text)
            early += 1
            continue
        outcomes.append(found)
        wrong = [] if kill else [word for word in NOISE if word in found.text]
        wrong += [f"process {pid} is still running" for pid in found.left]
        if not command.same:
            here = files(other, command.results) & wanted
            wrong += [f"{file} is incomplete" for file in differing(alone, other, here)]
        if found.status not in (0, -signal.SIGKILL if kill else 130):
            wrong.append(f"status {found.status}")
        elif found.status == 130 and not re.match("maed: |stopped", last):
            wrong.append("no line that says what happened")
        print(
            f"  {found.where}, after {after:.2f} s: {found.status} in {found.seconds:.1f} s: "
            f"{last[:90]}",
            flush=True,
        )
        if wrong:
            odd += 1
            kept.write_text(found.text)
            print(f"  wrong: {', '.join(wrong)}; its output is in {kept}", flush=True)
        if found.status == 0:
            clear(other)
    ended = Start(command, other, cache, log).process.wait()
    said = f"{name}: after {len(outcomes)} interruptions it runs to its end undisturbed"
    proof.verdict(ended == 0, said)
    if command.same:
        equal = command.same(alone, other)
    else:
        litter = everything(other) - everything(alone)
        equal = files(other, command.results) == wanted and not differing(alone, other, wanted)
        equal = equal and not litter
        print(f"  extra: {sorted(map(str, litter))}" if litter else "  no extra files", flush=True)
    proof.verdict(equal, f"{name}: its results equal those of the undisturbed run")
    where = [outcome.where for outcome in outcomes]
    counts = [where.count(phase) for phase in ("starting", "working", "writing", "over")]
    longest = max((outcome.seconds for outcome in outcomes), default=0.0)
    figures = [f"{takes:.1f}", f"{begins:.1f}", early, *counts, odd, f"{longest:.1f}"]
    return f"| {name} | {' | '.join(map(str, figures))} |"


def prove_interrupts(directory: Path, verbs: list[str], trials: int, seed: int, kill: bool) -> None:
    prepare(directory)
    known, rows = commands(directory), []
    for name in verbs or known:
        chance = random.Random(f"{seed} {name}")
        rows.append(prove(directory, name, known[name], trials, chance, kill))
    titles = ["command", "takes, s", "work begins, s", "too early", "starting", "working"]
    titles += ["writing", "over", "wrong", "longest wait, s"]
    print("\n".join([f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", *rows]))


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "verbs", nargs="*", metavar="VERB", help='such as "data build"; default: all'
    )
    parser.add_argument("--workdir", default="proofs/faults", help="default: proofs/faults")
    parser.add_argument(
        "--trials", type=int, default=12, help="interruptions of each verb's work; default: 12"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill", action="store_true", help="SIGKILL instead of Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    place = Path(options.workdir).absolute()
    place.mkdir(parents=True, exist_ok=True)
    prove_interrupts(place, options.verbs, options.trials, options.seed, options.kill)
