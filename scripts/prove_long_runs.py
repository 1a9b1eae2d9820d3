"""Checks that long runs do not grow in memory or time per step.

    python scripts/prove_long_runs.py [train] [video] [cycles] [--workdir DIR]
                                      [--steps N] [--minutes N] [--cycles N]

train   5,000 steps of `debug:stage2`, with 20 checkpoints and 5 validations.
video   `maed predict` of an hour of video, boxes given, nothing drawn, compared with 3 minutes.
cycles  a checkpoint is opened and evaluated 1,000 times, all in one process.

Monitors the process's memory, arrays that JAX holds, threads, open files, and compilations.
Takes about an hour on two cores.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import proof

FPS, SIZE = 30, (640, 480)
SLACK = 1.05  # allowed growth factor of memory and time
MOST = 20  # kB that a cycle may leak: a twentieth of the process in 1,000 cycles
KEPT = 0.4  # further kB per array read: TensorStore (0.1.86) keeps its metadata
compilations: list[str] = []


class Sample(NamedTuple):
    """The resources that this process uses."""

    seconds: float
    """of CPU time since it started"""
    rss: float
    """MB, without file pages"""
    arrays: int
    """held by JAX"""
    array_bytes: int
    threads: int
    """without TensorStore's, whose number varies"""
    files: int
    compilations: int

    def __str__(self) -> str:
        return (
            f"{self.rss:.0f} MB, {self.arrays} arrays of {self.array_bytes / 1e6:.1f} MB, "
            f"{self.threads} threads, {self.files} open files, {self.compilations} compilations"
        )


def memory(pid: int | str = "self") -> dict[str, float]:
    """Returns memory of a process in MB by its names in /proc/PID/status: VmHWM, RssAnon, ..."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(text.split()[0]) / 1024 for name, text in pairs if text.endswith("kB")}


def thread_names() -> list[str]:
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # the thread has exited
            names.append(path.read_text().strip())
    return names


def sample() -> Sample:
    import jax

    gc.collect()
    arrays = [array for array in jax.live_arrays() if not array.is_deleted()]
    return Sample(
        time.process_time(),
        memory()["RssAnon"],
        len(arrays),
        sum(array.nbytes for array in arrays),
        sum(name != "ts_pool_worker" for name in thread_names()),
        len(os.listdir("/proc/self/fd")),
        len(compilations),
    )


def count_compilations() -> None:
    import jax

    def note(event: str, duration: float, **_) -> None:
        if event.endswith("backend_compile_duration"):
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)


def steady(early: list[Sample], late: list[Sample]) -> None:
    """Checks that median memory grows by less than `SLACK`, and nothing else grows."""
    then, now = (np.median([sample.rss for sample in part]) for part in (early, late))
    proof.verdict(now < SLACK * then, f"memory went from {then:.0f} to {now:.0f} MB")
    nothing_more(early, late)


def level(samples: dict[int, Sample], most: float) -> None:
    """Checks that memory grows by less than `most` kB per cycle over the second half, with noise.

    Its level says nothing: what allocators keep rises for a while and then stays, what leaks rises
    forever. Memory fluctuates slowly, so errors of neighbouring samples are correlated: the line is
    fitted to the medians of ten tenths of the half, and its error is that of their residuals.
    """
    steps = np.array(list(samples))
    rss = np.array([sample.rss for sample in samples.values()])
    half = steps >= steps[-1] / 2
    x, y = (
        np.array([np.median(tenth) for tenth in np.array_split(values[half], 10)])
        for values in (steps, rss)
    )
    (slope, height), covariance = np.polyfit(x - x.mean(), y, 1, cov="unscaled")
    missed = y - height - slope * (x - x.mean())
    error = np.sqrt(covariance[0, 0] * (missed @ missed) / (len(x) - 2))
    slope, error = 1024 * slope, 1024 * error  # kB
    proof.verdict(
        slope + 2 * error < most,
        f"memory about {height:.0f} MB in the second half, {slope:+.1f} kB per cycle, standard "
        f"error {error:.1f}; plus two of these below {most:.0f}",
    )


def nothing_more(early: list[Sample], late: list[Sample]) -> None:
    """Checks that no count has grown: its later minimum is not above its earlier maximum.

    Libraries start some threads late, and there are more of them while a checkpoint is saved.
    """
    for name in Sample._fields[2:]:
        then = max(getattr(sample, name) for sample in early)
        now = min(getattr(sample, name) for sample in late)
        proof.verdict(now <= then, f"{name.replace('_', ' ')} at most {then} before, {now} now")


def prove_train(directory: Path, steps: int) -> None:
    from maed_jax.runs.config import load_config
    from maed_jax.training import monitor
    from maed_jax.training.train import train

    proof.with_dataset(directory)
    count_compilations()
    run, samples, took = proof.fresh(directory / "long"), {}, []
    record, last = monitor.Monitor.record, [time.process_time()]

    def recording(self, step, metrics):
        record(self, step, metrics)
        now = time.process_time()
        took.append(now - last[0])
        last[0] = now
        if step % 50 == 40:  # between checkpoints and validations
            samples[step] = sample()
            last[0] = time.process_time()
        if step % 500 == 40:
            cost = 1000 * np.median(took[-400:])
            print(f"step {step}: {samples[step]}; {cost:.1f} ms of CPU time per step", flush=True)

    monitor.Monitor.record = recording
    every = max(1, steps // 20)
    settings = {"steps": steps, "log_every": 10, "checkpoint_every": every}
    settings["eval_every"] = 4 * every
    settings |= {"data.data_dir": directory / "data", "data.clips_per_batch": 1}
    settings["data.images_per_batch"] = 2
    with run.with_suffix(".log").open("w") as log, contextlib.redirect_stderr(log):
        config = load_config("debug:stage2", [f"--config.{k}={v}" for k, v in settings.items()])
        train(config, run)
    fifth = steps // 5  # compare the second fifth with the last
    early = [s for step, s in samples.items() if fifth < step <= 2 * fifth]
    late = [s for step, s in samples.items() if step > 4 * fifth]
    steady(early, late)
    then, now = (1000 * np.median(part) for part in (took[fifth : 2 * fifth], took[4 * fifth :]))
    proof.verdict(
        now < SLACK * then,
        f"in the second {fifth} steps, each takes {then:.2f} ms of CPU, in the last {now:.2f} ms",
    )


def write_walk(path: Path, seconds: int) -> Path:
    """Writes a video of a person who moves to and fro, and their boxes; returns the boxes' file."""
    import cv2

    from maed_jax.inference.video import VideoWriter

    count, boxes = seconds * FPS, path.with_suffix(".npz")
    x = SIZE[0] / 2 + 200 * np.sin(np.arange(count) / 40)
    y, width, height = SIZE[1] / 2, 100.0, 300.0
    if not path.exists():
        with VideoWriter(path, FPS) as writer:
            for number, middle in enumerate(x):
                image = np.full((SIZE[1], SIZE[0], 3), 190, np.uint8)
                corner = (round(middle - width / 2), round(y - height / 2))
                cv2.rectangle(image, (*corner, round(width), round(height)), (60, 60, 90), -1)
                writer.write(image, number / FPS)
    constant = [np.full(count, value) for value in (y, width, height)]
    np.savez(boxes, frames=np.arange(count), boxes=np.stack([x, *constant], axis=-1))
    return boxes


def predict(directory: Path, seconds: int) -> tuple[float, float, float]:
    """Returns peak memory in MB, total and without file pages, and the seconds it took."""
    video = directory / f"walk_{seconds}.mp4"
    boxes, out = write_walk(video, seconds), proof.fresh(directory / f"walk_{seconds}")
    command = [sys.executable, "-m", "maed_jax.cli", "predict", str(video), "--no_video"]
    command += ["--checkpoint", str(directory / "short"), "--boxes", str(boxes), "--out", str(out)]
    begin, private = time.monotonic(), 0.0
    with (directory / "predict.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=proof.environment())
        whole = 0.0
        while process.poll() is None:
            with contextlib.suppress(OSError, KeyError):
                now = memory(process.pid)
                whole, private = max(whole, now["VmHWM"]), max(private, now["RssAnon"])
            time.sleep(0.5)
    proof.verdict(process.returncode == 0, f"{seconds / 60:.0f} minutes of video predicted")
    return whole, private, time.monotonic() - begin


def prove_video(directory: Path, minutes: int) -> None:
    proof.with_dataset(directory)
    if not (directory / "short").exists():
        proof.train(directory / "short", steps=2)
    peaks = {}
    for length in (3, minutes):
        whole, private, took = peaks[length] = predict(directory, 60 * length)
        print(
            f"{length} minutes: {whole:.0f} MB at most, {private:.0f} MB without file pages; "
            f"{1000 * took / (60 * length * FPS):.1f} ms per frame",
            flush=True,
        )
    then, now = (peaks[length][1] for length in (3, minutes))
    more = 60 * (minutes - 3) * FPS  # frames
    proof.verdict(
        now - then < 0.005 * more,
        f"{1000 * (now - then) / more:.2f} kB of memory per additional frame, less than 5",
    )


def prove_cycles(directory: Path, cycles: int) -> None:
    if cycles < 100:
        sys.exit("fitting a slope needs at least 100 cycles: --cycles 100")
    from maed_jax import jax_setup

    jax_setup.configure()  # as the command does
    import jax

    from maed_jax.evaluation import evaluate
    from maed_jax.evaluation.protocol_choice import choose
    from maed_jax.runs.checkpoints import read_variables
    from maed_jax.runs.restore import restore_estimator

    proof.with_dataset(directory)
    if not (directory / "short").exists():
        proof.train(directory / "short", steps=2)
    count_compilations()
    dataset, samples, figures = "mannequins/tiny", {}, set()
    read = 2 * len(jax.tree.leaves(read_variables(directory / "short")[0]))  # arrays in a cycle
    protocols = choose(dataset, "maed", {})
    for number in range(cycles):
        with contextlib.redirect_stderr(io.StringIO()):
            restore_estimator(directory / "short")
            opened = evaluate.open_checkpoint(str(directory / "short"))
            found, _ = evaluate.measure(
                opened, str(directory / "data"), dataset, "validation", protocols
            )
        figures.add(str(found["rows"]))
        if number % max(1, cycles // 100) == 0:
            samples[number] = sample()
        if number % max(1, cycles // 10) == 0:
            print(f"cycle {number}: {samples[number]}", flush=True)
    proof.verdict(len(figures) == 1, f"the same figures from all {cycles} cycles")
    listed = list(samples.values())
    nothing_more(listed[10:30], listed[-20:])
    level(samples, MOST + KEPT * read)


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX starts
    parts = {"train": prove_train, "video": prove_video, "cycles": prove_cycles}
    sizes = {"steps": 5000, "minutes": 60, "cycles": 1000}
    proof.run_parts(__doc__.splitlines()[0], "proofs/long_runs", parts, **sizes)
