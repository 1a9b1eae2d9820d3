"""The finished parts of a build, from which an interrupted build resumes.

A part is the output of one task: `<part>.records` with its records and, written last, `<part>.json`
with its tracks and counts. A part without the second is unfinished.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import pickle
import struct
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maed_jax.data import schema

from .person import Dropped, PersonTrack, Recorder

# A record on disk: the arrays in sequence, then lengths and bytes of strings and image.
_ARRAYS = np.dtype([(name, kind, shape) for name, (shape, kind) in schema.ARRAYS.items()])
_TEXTS = (*schema.STRINGS, schema.IMAGE)
_LENGTHS = struct.Struct(f"<{len(_TEXTS)}I")


@dataclasses.dataclass(frozen=True)
class Job:
    """A task of a dataset, the function that reads it, and where its part goes."""

    read: Callable[[Any, Dropped], Iterator[PersonTrack]]
    task: Any
    stem: Path
    """the part's path without suffix"""
    source: str
    crops: bool


def stem(folder: Path, number: int, task: Any) -> Path:
    """Returns the path of a task's part; a changed task gets another path."""
    return folder / f"{number:06d}-{hashlib.sha256(pickle.dumps(task)).hexdigest()[:12]}"


def finished(job: Job) -> dict | None:
    """Returns what `make` returned if the part is finished, otherwise None."""
    try:
        done = json.loads(job.stem.with_suffix(".json").read_text())
        size = job.stem.with_suffix(".records").stat().st_size
        complete = size == done["bytes"] and "images" in done  # parts of older versions lack it
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return done if complete else None


def make(job: Job) -> dict:
    """Reads a task and writes its part; runs in a separate process.

    Returns:
      "tracks": list of {name, length, subset}; "images", "records", "has_smpl", "has_3d",
      "bytes": numbers; "dropped" and "mended": reason -> count.
    """
    recorder = Recorder(job.source, job.crops)
    tracks, total, num_labelled = [], 0, {"has_smpl": 0, "has_3d": 0}
    job.stem.parent.mkdir(parents=True, exist_ok=True)
    temporary = job.stem.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            for track in job.read(job.task, recorder.dropped):
                length = 0
                for record in recorder.records(track):
                    _write(file, record)
                    length += 1
                    for kind in num_labelled:
                        num_labelled[kind] += int(record[kind])
                if length:  # tracks without frames are left out
                    tracks.append({"name": track.name, "length": length, "subset": track.subset})
                total += length
            size = file.tell()
            _sync(file)
        temporary.rename(job.stem.with_suffix(".records"))
        done = {
            "tracks": tracks, "images": recorder.images, "records": total, "bytes": size,
            "dropped": dict(recorder.dropped), "mended": dict(recorder.mended), **num_labelled,
        }  # fmt: skip
        with open(temporary, "w") as file:
            json.dump(done, file)
            _sync(file)
        temporary.rename(job.stem.with_suffix(".json"))
    finally:
        temporary.unlink(missing_ok=True)
    return done


def records(job: Job, start: int = 0, stop: int | None = None) -> Iterator[dict]:
    """Yields the records of a finished part from `start` up to, but not including, `stop`."""
    with open(job.stem.with_suffix(".records"), "rb") as file:
        for number in itertools.count():
            arrays = file.read(_ARRAYS.itemsize)
            if not arrays or number == stop:
                return
            lengths = _LENGTHS.unpack(file.read(_LENGTHS.size))
            if number < start:
                file.seek(sum(lengths), os.SEEK_CUR)
                continue
            fixed = np.frombuffer(arrays, _ARRAYS)[0]
            record = {name: fixed[name] for name in schema.ARRAYS}
            for name, length in zip(_TEXTS, lengths):
                data = file.read(length)
                record[name] = data if name == schema.IMAGE else data.decode()
            yield record


def _write(file: BinaryIO, record: dict) -> None:
    fixed = np.zeros((), _ARRAYS)
    for name in schema.ARRAYS:
        fixed[name] = record[name]
    texts = [record[name] for name in schema.STRINGS]
    data = [*(text.encode() for text in texts), record[schema.IMAGE]]
    file.write(fixed.tobytes() + _LENGTHS.pack(*map(len, data)) + b"".join(data))


def _sync(file) -> None:
    """Forces a file to disk, so that it survives a crash of the machine."""
    file.flush()
    os.fsync(file.fileno())
