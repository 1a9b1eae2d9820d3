"""The base of builders of datasets of real images.

A dataset says where its raw files are and how to read one of them: `ImagesBuilder.tasks` and
`ImagesBuilder.read`. The rest is done here: parallel work, resuming after an interruption,
records, the table of tracks, and the report of what was kept and what was left out.
"""

from __future__ import annotations

import abc
import argparse
import collections
import contextlib
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
import tqdm

from maed_jax.data import schema
from maed_jax.data.builders import usual_name
from maed_jax.data.parallel import in_order
from maed_jax.errors import UserError

from . import parts
from .person import Dropped, Person, PersonTrack

__all__ = ["Dropped", "Person", "PersonTrack", "ImagesBuilder"]

SHARD_SIZE = 256 * 2**20  # bytes of records per file; TFDS holds one file's records in memory
STOPPED = "stopped; the same command resumes with the remaining tasks"
MAX_FILES = 128  # per split, approximately: readers keep all of them open


def _folder(path: str) -> str:
    return str(Path(path).expanduser().resolve())


class ImagesBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """A dataset of images or videos of real people; subclasses say how it is read.

    The docstring of a subclass describes the raw layout; the command line prints it.
    """

    can_be_partial = False
    """whether `--partial` exists; then the subclass calls `report_missing`"""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="crops",
            description="the person with a margin (2 boxes wide, at most 344 px): for training",
        ),
        tfds.core.BuilderConfig(name="frames", description="whole images, JPEG files unchanged"),
    ]

    def __init__(
        self, *, manual_dir: str | Path, processes: int | None = None, partial: bool = False,
        **kwargs,
    ):  # fmt: skip
        """
        Args:
          manual_dir: folder of the raw dataset.
          processes: number of processes; default: one per core.
          partial: use what there is of the dataset, even if files are missing.
          kwargs: passed to TFDS.
        """
        super().__init__(file_format="array_record", **kwargs)
        self.manual_dir = Path(manual_dir).expanduser()
        self.processes, self.partial = processes, partial
        # Holds finished parts until all are. `maed data build` sets it, and removes the folder.
        self.parts = Path(self._data_dir_root) / ".parts" / self.name / self.builder_config.name

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options of `maed data build NAME`, which become arguments of the builder."""
        parser.add_argument(
            "--manual_dir", required=True, metavar="DIR", type=_folder,
            help="folder with the dataset as its owner distributes it, see above",
        )  # fmt: skip
        if cls.can_be_partial:
            parser.add_argument(
                "--partial", action="store_true",
                help="use what there is of the dataset; without this option, a missing part is an "
                "error",
            )  # fmt: skip

    @abc.abstractmethod
    def tasks(self) -> dict[str, list[Any]]:
        """Returns what to read: split -> tasks, each small and picklable, in a fixed order.

        Raises:
          UserError: `manual_dir` does not have the owner's layout; names what is missing.
        """

    read: Callable[[Any, Dropped], Iterator[PersonTrack]]
    """staticmethod of a module's function: reads a task, counts who it leaves out in `dropped`"""

    def report_missing(self, names: Sequence[str], found: bool = True) -> None:
        """Reports missing parts of the dataset; does nothing if `names` is empty.

        Args:
          names: the missing files or folders below `manual_dir`.
          found: whether anything else exists.

        Raises:
          UserError: there are `names`, and either no `--partial` or nothing else.
        """
        if not names:
            return
        named = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
        lacks = f"{self.manual_dir} lacks {named}"
        if not self.partial:
            raise UserError(f"{lacks}; --partial builds from the rest")
        if not found:
            raise UserError(lacks)
        print(f"maed: {lacks}: continuing without", file=sys.stderr)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=schema.features(),
            disable_shuffling=True,  # frames of a track stay together
        )

    def _jobs(self) -> dict[str, list[parts.Job]]:
        if not self.manual_dir.is_dir():
            raise UserError(
                f"there is no folder {self.manual_dir}: set --manual_dir to the raw data"
            )
        crops = self.builder_config.name == "crops"
        print(f"{usual_name(self.name)}: searching {self.manual_dir}", file=sys.stderr)
        return {
            split: [
                parts.Job(
                    self.read, task, parts.stem(self.parts / split, number, task), self.name, crops
                )
                for number, task in enumerate(tasks)
            ]
            for split, tasks in self.tasks().items()
            if tasks
        }

    def _shard_iterators_per_split(self, _):
        jobs = self._jobs()
        if not jobs:
            raise UserError(f"{self.manual_dir} contains nothing to read")
        done = self._make(jobs)
        report = {split: _count(split_parts) for split, split_parts in done.items()}
        for split, counts in report.items():
            if not counts["people"]:
                why = ", ".join(f"{reason}: {n}" for reason, n in counts["dropped"].items())
                raise UserError(
                    f"no person of split {split!r} in {self.manual_dir} was kept ({why or 'empty'})"
                )
            schema.write_tracks(self.data_dir, split, _track_table(done[split]))
        (Path(self.data_dir) / "report.json").write_text(json.dumps(report, indent=1))
        total = sum(counts["people"] for counts in report.values())
        bar = tqdm.tqdm(total=total, desc="writing", unit=" records", mininterval=0.5)
        return {
            split: [
                functools.partial(_examples, pieces, bar)
                for pieces in _shards(jobs[split], done[split])
            ]
            for split in jobs
        }

    def _make(self, jobs: dict[str, list[parts.Job]]) -> dict[str, list[dict]]:
        """Makes the unfinished parts and returns what `parts.make` returned for every job."""
        all_jobs = [job for split_jobs in jobs.values() for job in split_jobs]
        done = {job.stem: parts.finished(job) for job in all_jobs}
        todo = [job for job in all_jobs if done[job.stem] is None]
        num_done = len(all_jobs) - len(todo)
        if num_done:
            print(
                f"{num_done} of {len(all_jobs)} tasks were done before: resuming "
                f"(remove {self.parts} to read them again)",
                file=sys.stderr,
            )
        bar = tqdm.tqdm(
            total=len(all_jobs), initial=num_done, desc=f"reading {usual_name(self.name)}",
            unit=" tasks", smoothing=0.05, mininterval=0.5,
        )  # fmt: skip
        num_people = 0
        try:
            with bar, contextlib.closing(in_order(parts.make, todo, self.processes)) as results:
                for job, result in zip(todo, results):
                    done[job.stem] = result
                    num_people += result["records"]
                    bar.set_postfix_str(f"{num_people} people", refresh=False)
                    bar.update()
        except SystemExit:  # SIGTERM
            print(f"maed: {STOPPED}", file=sys.stderr)
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(STOPPED) from None
        return {split: [done[job.stem] for job in split_jobs] for split, split_jobs in jobs.items()}


def _count(done: list[dict]) -> dict:
    dropped, mended = collections.Counter(), collections.Counter()
    for part in done:
        dropped.update(part["dropped"])
        mended.update(part["mended"])
    return {
        "tracks": sum(len(part["tracks"]) for part in done),
        "frames": sum(part["images"] for part in done),
        "people": sum(part["records"] for part in done),
        "with_smpl": sum(part["has_smpl"] for part in done),
        "with_3d": sum(part["has_3d"] for part in done),
        "dropped": dict(sorted((+dropped).items())),
        "mended": dict(sorted((+mended).items())),
    }


def _track_table(done: list[dict]) -> list[schema.Track]:
    tracks, start = [], 0
    for part in done:
        for track in part["tracks"]:
            tracks.append(schema.Track(track["name"], start, track["length"], track["subset"]))
            start += track["length"]
    return tracks


def _shards(jobs: list[parts.Job], done: list[dict]) -> list[list[tuple[parts.Job, int, int]]]:
    """Returns, for each file, the pieces of parts that go into it: job, first record, end."""
    size = max(SHARD_SIZE, sum(part["bytes"] for part in done) // MAX_FILES)
    shards, room = [], 0
    for job, part in zip(jobs, done):
        count, num_pieces = part["records"], -(-part["bytes"] // size)
        for piece in range(num_pieces):
            if part["bytes"] / num_pieces > room:
                shards.append([])
                room = size
            shards[-1].append((job, count * piece // num_pieces, count * (piece + 1) // num_pieces))
            room -= part["bytes"] / num_pieces
    return shards


def _examples(pieces: list[tuple[parts.Job, int, int]], bar: tqdm.tqdm) -> Iterator:
    numbered = enumerate(itertools.chain.from_iterable(parts.records(*p) for p in pieces))
    for example in numbered:
        bar.update()
        yield example
