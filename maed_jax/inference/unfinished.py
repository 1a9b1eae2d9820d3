"""The progress of an unfinished run on disk, from which the same command resumes.

The folder `.unfinished` in the output directory holds the detections of each frame, the tracks and
the model's outputs. These are memory-mapped arrays, so that a long video's results need not fit
into memory. The folder is removed when the run succeeds. All who write to the output directory
share its lock.
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
JOB = "job.json"  # in that folder
MACOS_FILES = 10_240  # the most that macOS allows a process to open, whatever the hard limit says
Allocate = Callable[..., np.ndarray]
"""maps (name, shape, dtype) to an array of zeros, or to what an earlier run stored as `name`"""


def in_memory(name: str, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    """Returns an array of zeros in memory; nothing is kept on disk."""
    return np.zeros(shape, dtype)


class Work:
    """The folder of an unfinished run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.keep = False
        """True: keep the folder even after a `UserError`, because much can be resumed"""

    def array(self, name: str, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
        """Returns an array of zeros in a file, or what an earlier run left there."""
        path = self.folder / f"{name}.npy"
        if start := _start(path, shape, dtype):
            array = np.memmap(path, dtype, "r+", start, tuple(shape))
        else:
            array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), tuple(shape))
        with contextlib.suppress(AttributeError), open(path, "r+b") as file:
            # Allocates the space now: a full disk is an error here, and kills the process later.
            # Repeated for an existing file, as the earlier run may have ended just before this.
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Writes arrays into one file, atomically."""
        part = self.folder / f"{name}.part"
        with open(part, "wb") as file:
            np.savez(file, **arrays)
        part.replace(self.folder / f"{name}.npz")

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """Returns what `save` wrote; None if there is nothing, or it is damaged."""
        path = self.folder / f"{name}.npz"
        if path.exists():
            with contextlib.suppress(ValueError), open_npz(path) as file:
                return dict(file)
        return None

    def lines(self, name: str, form: Any = object) -> list:
        """Returns what `append` wrote, up to the first line that is incomplete or not of `form`."""
        path = self.folder / f"{name}.jsonl"
        if not path.exists():
            return []
        *lines, rest = path.read_bytes().split(b"\n")
        found = []
        with contextlib.suppress(ValueError):
            for line in lines:
                found.append(parse_json(line, form))
        if rest or len(found) < len(lines):  # the run ended within a line
            os.truncate(path, sum(len(line) + 1 for line in lines[: len(found)]))
        return found

    @contextlib.contextmanager
    def append(self, name: str) -> Iterator[Callable]:
        """Yields a function that immediately appends its argument to a file, as a line of JSON."""
        with open(self.folder / f"{name}.jsonl", "a", buffering=1) as file:
            yield lambda content: file.write(json.dumps(content) + "\n")

    def stage(self) -> Path:
        """Returns an empty folder for finished files, for `results.publish` to move."""
        stage = self.folder / "results"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        return stage


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """Raises the limit on open files as far as allowed: every track has several."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (hard, max(soft, MACOS_FILES)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            break
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _start(path: Path, shape: tuple[int, ...], dtype: Any) -> int | None:
    """Returns where the data of such an array starts in a file; None if the file holds no other."""
    if not path.exists():
        return None
    with contextlib.suppress(ValueError), open(path, "rb") as file:
        found, fortran, kind = npy_header(file)
        size = file.tell() + math.prod(shape) * np.dtype(dtype).itemsize
        matches = found == tuple(shape) and kind == dtype and not fortran
        if matches and path.stat().st_size == size:
            return file.tell()
    return None


@contextlib.contextmanager
def unfinished(out: str | Path, job: dict) -> Iterator[Work]:
    """Opens the work folder of `out`, creating both if needed.

    When the block ends normally or with a `UserError` (unless `Work.keep`), the folder is
    removed. When the run is interrupted or crashes, it stays, and so do directories created for it.

    Args:
      job: everything that determines the results, as JSON. What an interrupted run of the same job
        left is kept; that of another job is removed.

    Raises:
      UserError: `out` cannot be written, or another run is writing there.
    """
    out = Path(out)
    created, folder = [], out / FOLDER
    with contextlib.ExitStack() as stack:
        try:
            created += [path for path in (out, *out.parents) if not path.exists()]  # deepest first
            out.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            stack.enter_context(_locked(folder, out))
            if _same_job(folder, json.dumps(job, sort_keys=True)):
                print(f"maed: resuming from what an earlier run left in {folder}", file=sys.stderr)
        except OSError as error:
            _remove(created)
            why = "it is a file" if isinstance(error, FileExistsError) else reason(error)
            raise UserError(f"cannot write to {out}: {why}") from None
        work = Work(folder)
        try:
            yield work
        except UserError:
            if not work.keep:
                shutil.rmtree(folder, ignore_errors=True)
                _remove(created)
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def stage_beside(out: str | Path) -> Iterator[Path]:
    """Yields an empty folder for finished files that will be added to the results in `out`.

    It is always removed when the block ends. What an unfinished run has left stays; the lock keeps
    both from writing at the same time.

    Raises:
      UserError: `out` cannot be written (also if this happens in the block), or another run is
        writing there.
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
    """Whether the same job was started here; what another job left is removed."""
    job_file = folder / JOB
    if job_file.exists() and job_file.read_bytes() == text.encode():
        return True
    for path in folder.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    job_file.write_text(text)
    return False


@contextlib.contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Locks the folder for the duration of the block; the lock dies with the process."""
    with open(folder / "lock", "w") as file:
        if not lock(file):
            raise UserError(f"another run is writing to {out}; choose another --out")
        yield


def _remove(created: list[Path]) -> None:
    for path in created:
        with contextlib.suppress(OSError):  # somebody else has since written there
            path.rmdir()
