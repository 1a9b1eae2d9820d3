"""Starts and interrupts commands, for `prove_faults.py`. Not a command itself."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import proof

HALF = r"orbax-checkpoint-tmp|\.part\b|\.unfinished/results|incomplete|/\.saving-"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and how to compare its results with those of another run."""

    words: list[str]
    """`OUT` stands for its output directory"""
    results: tuple[str, ...] = ("*",)
    """patterns of the files that are the same after every complete run"""
    same: Callable[[Path, Path], bool] | None = None
    """compares two finished directories, instead of comparing them file by file"""
    beat: str = ""
    """regular expression for what it prints when its work begins or continues; "": nothing"""
    log: str = ""
    """the file in `OUT` to which it prints this, if not to its output"""
    cold: bool = False
    """compile everything every time, so that Ctrl-C usually arrives during compilation"""
    twice: bool = False
    """send Ctrl-C a second time a moment later"""


def located(words: list[str], out: Path) -> list[str]:
    return [re.sub(r"^OUT\b", str(out), word) for word in words]


def environment(cache: Path | None) -> dict[str, str]:
    """Returns the environment of a command; `cache`: directory for compiled programs, or None."""
    return proof.environment() | {"JAX_COMPILATION_CACHE_DIR": str(cache or "")}


class Start:
    """A running command, in its own session."""

    def __init__(self, command: Command, out: Path, cache: Path | None, log: Path):
        self._out = out
        self._log, self._beat = out / command.log if command.log else log, command.beat
        log.write_text("")
        self.before, self.begin = self._beats(), time.monotonic()
        """beats from earlier starts in `out`, and the time when this one began"""
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maed_jax.cli", *located(command.words, out)],
                env=environment(cache), stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip

    def _beats(self) -> int:
        text = self._log.read_text() if self._log.exists() else ""
        return len(re.findall(self._beat, text)) if self._beat else 0

    @property
    def beats(self) -> int:
        """How often it has printed its beat since its start."""
        return self._beats() - self.before

    @property
    def at_work(self) -> bool:
        return not self._beat or self.beats > 0

    @property
    def writing(self) -> bool:
        """Whether its directory contains something half-written."""
        paths = (
            f"{place}/{name}" for place, *names in os.walk(self._out) for name in sum(names, [])
        )
        return any(re.search(HALF, path) for path in paths)

    def wait_for_writing(self) -> float:
        """Waits until it writes something or ends; returns the seconds since its start."""
        while self.process.poll() is None and not self.writing:
            time.sleep(0.002)
        return time.monotonic() - self.begin

    def wait_for(self, beat: int, most: float = float("inf")) -> float:
        """Waits for a beat, its end, or `most` seconds; returns the seconds since its start."""
        while self.process.poll() is None and self.beats < beat:
            if time.monotonic() - self.begin > most:
                break
            time.sleep(0.01)
        return time.monotonic() - self.begin


def left_behind(session: int) -> list[int]:
    """Returns the processes still running in a session."""
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
    """its processes that are still running"""
    where: str
    """when Ctrl-C arrived: "starting", "working", "writing" or "over\""""


def interrupt(
    run: Start, log: Path, after: float, *, more: float | None = None, kill: bool = False
) -> Outcome:
    """Sends Ctrl-C to all processes of a command after `after` seconds.

    Args:
      more: seconds after which it is sent a second time, or None.
      kill: send SIGKILL to its first process only instead, as happens when memory runs out.
    """
    process = run.process
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    where = "starting"
    if run.at_work:
        where = "writing" if run.writing else "working"
    begin = time.monotonic()
    if process.poll() is not None:
        where = "over"
    elif kill:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    if more is not None:
        with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
            process.wait(more)
            os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return Outcome(process.wait(), 90.0, log.read_text(), [], where)
    took, patience = time.monotonic() - begin, time.monotonic() + 10
    while left_behind(process.pid) and time.monotonic() < patience:
        time.sleep(0.1)
    return Outcome(process.returncode, took, log.read_text(), left_behind(process.pid), where)
