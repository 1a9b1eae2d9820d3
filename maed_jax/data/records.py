"""Reads prepared datasets from disk, record by record, without TensorFlow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from maed_jax.data import schema
from maed_jax.data.builders import ALIASES, available, usual_name
from maed_jax.data.example import parse_example
from maed_jax.errors import UserError, nearest, reason, suggest
from maed_jax.files.json import read_json

# name -> shape, dtype, the kind of list that holds it in a `tf.train.Example`
_ARRAYS = {
    name: (shape, dtype, "float_list" if dtype is np.float32 else "int64_list")
    for name, (shape, dtype) in schema.ARRAYS.items()
}
_NAMES = (*_ARRAYS, *schema.STRINGS, schema.IMAGE)
REBUILD = "rebuild the dataset with --overwrite"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def dataset_directory(data_dir: str | Path, name: str = "") -> Path:
    """Returns the folder of the newest version of a dataset.

    Args:
      data_dir: folder that contains datasets, or the dataset's own folder.
      name: `<dataset>` or `<dataset>/<config>`, below `data_dir`. `<config>` can be omitted if
        there is only one. Names in `ALIASES` are accepted.

    Raises:
      UserError: it has not been prepared.
    """
    dataset, slash, config = name.partition("/")
    here = Path(data_dir) / f"{ALIASES.get(dataset, dataset)}{slash}{config}"
    if (here / "dataset_info.json").is_file():
        return here
    versions = _versions(here)
    configs = [] if versions or not here.is_dir() else [p for p in here.iterdir() if _versions(p)]
    if len(configs) == 1:
        versions = _versions(configs[0])
    if len(configs) > 1:
        names = ", ".join(sorted(f"{name}/{p.name}".strip("/") for p in configs))
        raise UserError(f"{here} contains several datasets: choose from {names}")
    if not versions:
        raise UserError(f"there is no prepared dataset in {here}{_where_else(data_dir, name)}")
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))


def dataset_name(data_dir: str | Path, folder: Path) -> str:
    """Returns the usual name, `<dataset>` or `<dataset>/<config>`, of a dataset in `data_dir`.

    Args:
      data_dir: as in `dataset_directory`.
      folder: that of all versions of the dataset.
    """
    parts = folder.parts[len(Path(data_dir).parts) :] or (folder.name,)
    return "/".join((usual_name(parts[0]), *parts[1:]))


def _where_else(data_dir: str | Path, name: str) -> str:
    """Returns the rest of the message about a missing dataset: what exists, or how to build it."""
    folders = _prepared(Path(data_dir))
    if not name:
        paths = ", ".join(map(str, folders[:8]))
        return f" itself: choose from {paths}" if paths else ": build one with `maed data build`"
    found = [dataset_name(data_dir, folder) for folder in folders]
    (dataset, _, config), builders = name.partition("/"), available()
    can_be_built = ALIASES.get(dataset, dataset) in builders
    if near := nearest(name, found, cutoff=0.9 if can_be_built else 0.75):
        return f": did you mean {near[0]}?"
    here = f"{data_dir} has {', '.join(found[:8])}" if found else f"{data_dir} has none"
    where = f": {here}; say where it is with --data_dir (in training --config.data.data_dir)"
    if not can_be_built:
        hint = suggest(dataset, map(usual_name, builders), otherwise="")
        return f"{where}; {hint}" if hint else where
    owners = "" if dataset == "mannequins" else " --manual_dir RAW"
    option = f" --config {config}" if config else ""
    return (
        f"{where}, or prepare it with "
        f"`maed data build {usual_name(dataset)}{owners} --data_dir {data_dir}{option}`"
    )


def _prepared(data_dir: Path) -> list[Path]:
    """Returns the folders of datasets below `data_dir`, as deep as `dataset_directory` looks."""
    return sorted(
        {
            path.parents[1]
            for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json")
            for path in data_dir.glob(pattern)
            if _VERSION.fullmatch(path.parent.name)
        }
    )


def _versions(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return [
        path
        for path in directory.iterdir()
        if _VERSION.fullmatch(path.name) and (path / "dataset_info.json").is_file()
    ]


class Records:
    """The records of a split, by index: `records[i]` is a dict as described in `data.schema`.

    Can be pickled (the other process reopens the files) and shared by threads.

    Attributes:
      directory: folder of the dataset.
      split: name of the split.
      tracks: the table of tracks, without empty ones.
    """

    def __init__(self, directory: str | Path, split: str):
        """Opens `split` of the dataset in `directory`.

        Raises:
          UserError: there is no such split, the schema differs, or files are truncated.
        """
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self.directory, self.split = Path(directory), split
        files = files_of(self.directory)
        if split not in files:
            raise UserError(f"{directory} has no split {split!r}; it has {', '.join(files)}")
        if not files[split]:
            raise UserError(f"the split {split!r} of {directory} has no records")
        _check_features(self.directory)
        _check_files(files[split])
        self._source = ArrayRecordDataSource([f"{path}[0:{n}]" for path, n in files[split].items()])
        self.tracks = [t for t in schema.read_tracks(directory, split) if t.length > 0]
        end = max((track.start + track.length for track in self.tracks), default=0)
        if end > len(self):
            raise UserError(
                f"{schema.tracks_path(directory, split)} lists {end} records, but there are "
                f"{len(self)}; {REBUILD}"
            )

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict:
        return self.read(index)

    def read(self, index: int, names: Sequence[str] = _NAMES) -> dict:
        """Reads only the fields `names` of a record, which takes less time.

        Raises:
          UserError: the record is damaged.
        """
        try:
            return parse(parse_example(self._source[int(index)]), names)
        # RuntimeError is Riegeli's, the files' container format, for wrong checksums.
        except (RuntimeError, ValueError, IndexError) as error:
            raise UserError(
                f"{self.directory} is damaged in record {index} ({reason(error)}); {REBUILD}"
            ) from None

    def __repr__(self) -> str:
        return f"Records({str(self.directory)!r}, {self.split!r})"


def files_of(directory: Path) -> dict[str, dict[Path, int]]:
    """Returns a prepared dataset's splits: name -> its files, in order -> their record counts.

    Raises:
      UserError: there is no dataset, or it has no splits.
    """
    path = directory / "dataset_info.json"
    try:
        info = read_json(path, {"name": str, "splits": [{"name": str, "shardLengths?": [str]}]})
        splits = {
            split["name"]: [int(length) for length in split.get("shardLengths", ())]
            for split in info["splits"]
        }
    except FileNotFoundError:
        raise UserError(
            f"{directory} is not a prepared dataset: it has no dataset_info.json"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from None
    if not splits:
        raise UserError(f"{directory} has no splits, and so no records: rebuild it")
    files: dict[str, dict[Path, int]] = {}
    for split, lengths in splits.items():
        stem = Path(f"{info['name']}-{split}.array_record").name  # cannot lead elsewhere
        names = (f"{stem}-{i:05}-of-{len(lengths):05}" for i in range(len(lengths)))
        files[split] = {directory / name: length for name, length in zip(names, lengths)}
    return files


def _check_features(directory: Path) -> None:
    """Checks that features.json has all fields of a record.

    Raises:
      UserError: it does not, or it cannot be read.
    """
    path = directory / "features.json"
    try:
        found = read_json(path, {"featuresDict": {"features": dict}})["featuresDict"]["features"]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as TFDS features ({reason(error)})") from None
    if missing := sorted(set(_NAMES) - set(found)):
        raise UserError(f"the records in {directory} lack {', '.join(missing)}; {REBUILD}")


def _check_files(files: Mapping[Path, int]) -> None:
    """Checks that each file has all its records: a truncated one would return empty ones.

    Raises:
      UserError: one does not.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    for path, expected in files.items():
        try:
            reader = ArrayRecordReader(str(path))
            found = reader.num_records()
            reader.close()
        except RuntimeError:  # the file is missing
            found = 0
        if found != expected:
            raise UserError(
                f"{path} is damaged: {found} of its {expected} records can be read; {REBUILD}"
            )


def parse(features: Mapping, names: Sequence[str] = _NAMES) -> dict:
    """Parses a record, or some of its fields, from the features of a `tf.train.Example`."""
    record: dict = {}
    for name in names:
        if name not in _ARRAYS:
            value = features[name].bytes_list.value[0]
            record[name] = value if name == schema.IMAGE else value.decode()
            continue
        shape, dtype, kind = _ARRAYS[name]
        values = getattr(features[name], kind)
        if not shape:
            record[name] = dtype(values.value[0])
        elif dtype is np.float32:  # packed as in memory, after a tag and the length in bytes
            head = 2 if math.prod(shape) < 32 else 3
            packed = values.SerializeToString()
            record[name] = np.frombuffer(packed[head:], "<f4").reshape(shape)
        else:
            record[name] = np.array(values.value, dtype).reshape(shape)
    return record
