"""What an unfinished run has done so far, kept on disk so that the same command resumes from there.

The folder `.unfinished` of the output directory holds what was found in each frame, the tracks, and
the model's answers: arrays in files that are mapped into memory, so that a long video's results
never have to fit into it. It is gone when the run ends well. Its lock is that of all who
write to the output directory.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.json import parse_json
from maed_jax.files.locks import lock
from maed_jax.files.numpy import npy_header, open_npz

FOLDER = ".unfinished"
JOB = "job.json"  # in it
Keep = Callable[..., np.ndarray]
"""(name, shape, dtype) -> an array of zeros, or what an earlier run left under that name"""


def in_memory(name: str, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    """Keeps nothing: an array of zeros."""
    return np.zeros(shape, dtype)


class Work:
    """The folder of an unfinished run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.wanted = False
        """True: keep it also after a `UserError`, because there is much to go on from"""

    def array(self, name: str, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
        """An array of zeros in a file, or what an earlier run left in it."""
        path = self.folder / f"{name}.npy"
        if start := _start(path, shape, dtype):
            array = np.memmap(path, dtype, "r+", start, tuple(shape))
        else:
            array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), tuple(shape))
        with contextlib.suppress(AttributeError), open(path, "r+b") as file:
            # Takes the space now: a full disk is an error here, and the end of the process later.
            # An earlier run that ended right here has not taken it.
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Writes arrays into one file, whole or not at all."""
        part = self.folder / f"{name}.part"
        with open(part, "wb") as file:
            np.savez(file, **arrays)
        part.replace(self.folder / f"{name}.npz")

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What `save` wrote; None if it did not, or what is there is damaged."""
        path = self.folder / f"{name}.npz"
        if path.exists():
            with contextlib.suppress(ValueError), open_npz(path) as file:
                return dict(file)
        return None

    def lines(self, name: str, form: Any = object) -> list:
        """What `append` wrote, line by line, up to the first that is not whole or not of `form`."""
        path = self.folder / f"{name}.jsonl"
        if not path.exists():
            return []
        *lines, rest = path.read_bytes().split(b"\n")
        found = []
        with contextlib.suppress(ValueError):
            for line in lines:
                found.append(parse_json(line, form))
        if rest or len(found) < len(lines):  # the run ended in the middle of a line
            os.truncate(path, sum(len(line) + 1 for line in lines[: len(found)]))
        return found

    @contextlib.contextmanager
    def append(self, name: str) -> Iterator[Callable]:
        """Gives a function that adds a line to a file at once."""
        with open(self.folder / f"{name}.jsonl", "a", buffering=1) as file:
            yield lambda content: file.write(json.dumps(content) + "\n")

    def stage(self) -> Path:
        """An empty folder for finished files, which `results.publish` moves to their place."""
        stage = self.folder / "results"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        return stage


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """As many open files as the system lets this process have: each track has some of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _start(path: Path, shape: tuple[int, ...], dtype: Any) -> int | None:
    """Where the array begins in a file that holds one like this, all of it; None: there is none."""
    if not path.exists():
        return None
    with contextlib.suppress(ValueError), open(path, "rb") as file:
        found, fortran, kind = npy_header(file)
        size = file.tell() + math.prod(shape) * np.dtype(dtype).itemsize
        alike = found == tuple(shape) and kind == dtype and not fortran
        if alike and path.stat().st_size == size:
            return file.tell()
    return None


@contextlib.contextmanager
def unfinished(out: str | Path, job: dict) -> Iterator[Work]:
    """Opens the work folder of `out`, both made if needed.

    Args:
      job: everything that decides the answers, for JSON. What an interrupted run of the same job
        left is kept; what another left is removed.

    The folder goes when the block ends, by itself or with a `UserError` (unless `Work.wanted`); it
    stays when the run is interrupted or breaks off. Then directories made for it stay too.

    Raises:
      UserError: `out` cannot be written, or another run is writing there.
    """
    out = Path(out)
    made, folder = [], out / FOLDER
    with contextlib.ExitStack() as stack:
        try:
            made += [path for path in (out, *out.parents) if not path.exists()]  # deepest first
            out.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            stack.enter_context(_locked(folder, out))
            if _same_job(folder, json.dumps(job, sort_keys=True)):
                print(f"maed: resuming from what an earlier run left in {folder}", file=sys.stderr)
        except OSError as error:
            _remove(made)
            why = "it is a file" if isinstance(error, FileExistsError) else reason(error)
            raise UserError(f"cannot write to {out}: {why}") from None
        work = Work(folder)
        try:
            yield work
        except UserError:
            if not work.wanted:
                shutil.rmtree(folder, ignore_errors=True)
                _remove(made)
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def stage_beside(out: str | Path) -> Iterator[Path]:
    """Gives an empty folder for finished files that are to be added to the results in `out`.

    It goes when the block ends, however it does. What an unfinished run has left stays; neither
    writes while the other does.

    Raises:
      UserError: `out` cannot be written, in the block too, or another run is writing there.
    """
    out = Path(out)
    folder = out / FOLDER
    stage = folder / "added"

    def clear():
        shutil.rmtree(stage if (folder / JOB).exists() else folder, ignore_errors=True)

    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            stack.enter_context(_locked(folder, out))
            stack.callback(clear)
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            yield stage
        except OSError as error:
            raise UserError(f"cannot write to {out}: {reason(error)}") from None


def _same_job(folder: Path, text: str) -> bool:
    """Whether the same job was begun here; what another one left is removed."""
    note = folder / JOB
    if note.exists() and note.read_bytes() == text.encode():
        return True
    for path in folder.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    note.write_text(text)
    return False


@contextlib.contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Holds the folder, as long as the process lives."""
    with open(folder / "lock", "w") as file:
        if not lock(file):
            raise UserError(f"another run is writing to {out}; give another --out")
        yield


def _remove(made: list[Path]) -> None:
    for path in made:
        with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
            path.rmdir()
