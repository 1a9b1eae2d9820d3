"""Prepared datasets on disk, read record by record without TensorFlow."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maed_jax.data import schema
from maed_jax.data.builders import ALIASES, available, usual_name
from maed_jax.errors import UserError, nearest, reason, suggest
from maed_jax.files.json import read_json

# name -> shape, dtype, which of the kinds of list holds it in a `tf.train.Example`
_ARRAYS = {
    name: (shape, dtype, "float_list" if dtype is np.float32 else "int64_list")
    for name, (shape, dtype) in schema.ARRAYS.items()
}
_FEATURES = tuple(
    f"tensorflow_datasets.core.features.{name}"
    for name in (
        "features_dict.FeaturesDict", "tensor_feature.Tensor", "scalar.Scalar", "text_feature.Text",
    )
)  # fmt: skip
_NAMES = (*_ARRAYS, *schema.STRINGS, schema.IMAGE)
ANEW = "prepare the dataset anew, with --overwrite"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def dataset_directory(data_dir: str | Path, name: str = "") -> Path:
    """The folder of the newest version of a dataset.

    Args:
      data_dir: where datasets live, or the dataset's own folder.
      name: `<dataset>` or `<dataset>/<config>`, below `data_dir`. A dataset with a single config
        needs no `<config>`. One of `ALIASES` will do.

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
        raise UserError(f"{here} holds several datasets: choose from {names}")
    if not versions:
        raise UserError(f"there is no prepared dataset in {here}{_where_else(data_dir, name)}")
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))


def _where_else(data_dir: str | Path, name: str) -> str:
    """What to say, behind its folder, of a dataset that is not there: what is, or what makes it."""
    folders = _prepared(Path(data_dir))
    if not name:
        paths = ", ".join(map(str, folders[:8]))
        return f" itself: choose from {paths}" if paths else ": `maed data build` makes one"
    found = [
        "/".join((usual_name(first), *rest))
        for first, *rest in (folder.relative_to(data_dir).parts for folder in folders)
    ]
    (dataset, _, config), builders = name.partition("/"), available()
    can_be_built = ALIASES.get(dataset, dataset) in builders
    if near := nearest(name, found, cutoff=0.9 if can_be_built else 0.75):
        return f": did you mean {near[0]}?"
    here = f"{data_dir} holds {', '.join(found[:8])}" if found else f"{data_dir} holds none"
    where = f": {here}; say where it lies by --data_dir (in training --config.data.data_dir)"
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
    """The folders of datasets below another, as deep as `dataset_directory` looks."""
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
    """The records of a split, by number: `records[i]` is a dict as `data.schema` describes it.

    TFDS opens the files; its own parser of records takes longer than all the rest of the pipeline,
    so that the bytes are parsed here. Can be pickled (another process opens the files anew) and
    shared by threads.

    Attributes:
      directory: folder of the dataset. split: name of the split.
      tracks: the table of tracks, empty ones left out.
    """

    def __init__(self, directory: str | Path, split: str):
        """Opens `split` of the dataset in `directory`.

        Raises:
          UserError: no such split, records of another schema, or files that are cut short.
        """
        self.directory, self.split = Path(directory), split
        builder = _split_builder(self.directory, split)
        _check_files(builder.info.splits[split])
        self._open(builder)
        self.tracks = [t for t in schema.read_tracks(directory, split) if t.length > 0]
        end = max((track.start + track.length for track in self.tracks), default=0)
        if end > len(self):
            raise UserError(
                f"{schema.tracks_path(directory, split)} speaks of {end} records, but there are "
                f"{len(self)}; {ANEW}"
            )

    def _open(self, builder: Any) -> None:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.proto import tf_example_pb2

        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._source = builder.as_data_source(self.split, deserialize_method=raw)
        self._parse = tf_example_pb2.Example.FromString

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict:
        return self.read(index)

    def read(self, index: int, names: Sequence[str] = _NAMES) -> dict:
        """The fields `names` of a record alone, which takes less time.

        Raises:
          UserError: the record is damaged.
        """
        try:
            example = self._parse(self._source[int(index)])
        except RuntimeError as error:  # Riegeli's: its sums over every piece of the file disagree
            raise self._damaged(index, error) from None
        try:
            return parse(example.features.feature, names)
        except (ValueError, IndexError) as error:
            raise self._damaged(index, error) from None

    def _damaged(self, index: int, error: Exception) -> UserError:
        why = reason(error)
        return UserError(f"{self.directory} is damaged in record {index} ({why}); {ANEW}")

    def __getstate__(self) -> dict:
        return {"directory": self.directory, "split": self.split, "tracks": self.tracks}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open(_split_builder(self.directory, self.split))

    def __repr__(self) -> str:
        return f"Records({str(self.directory)!r}, {self.split!r})"


def _split_builder(directory: Path, split: str) -> Any:
    """TFDS's description of a dataset that has a split, and records of our schema.

    Raises:
      UserError: it has not.
    """
    _check_features(directory)
    builder = _builder(directory)
    if split not in builder.info.splits:
        raise UserError(
            f"{directory} has no split {split!r}; it has {', '.join(builder.info.splits)}"
        )
    if missing := sorted(set(_NAMES) - set(builder.info.features)):
        raise UserError(f"the records in {directory} lack {', '.join(missing)}; {ANEW}")
    return builder


def _check_files(split: Any) -> None:
    """Whether each file of a split holds all its records: one cut short would give empty ones.

    Raises:
      UserError: it does not.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    for path, promised in zip(split.filepaths, split.shard_lengths):
        try:
            reader = ArrayRecordReader(str(path))
            found = reader.num_records()
            reader.close()
        except RuntimeError:  # it is not there
            found = 0
        if found != promised:
            raise UserError(
                f"{path} is damaged: {found} of its {promised} records can be read; {ANEW}"
            )


def _builder(directory: Path) -> Any:
    """TFDS's description of a dataset.

    Raises:
      UserError: it has none, or a damaged one.
    """
    try:
        files = [(directory / name).stat() for name in ("dataset_info.json", "features.json")]
        return _builder_as_of(directory, tuple((file.st_ino, file.st_mtime_ns) for file in files))
    except Exception as error:  # damaged descriptions of a dataset can raise nearly anything
        why = reason(error)
        raise UserError(f"{directory} is no prepared dataset, or is damaged ({why})") from None


@functools.lru_cache(maxsize=64)
def _builder_as_of(directory: Path, files: tuple[tuple[int, int], ...]) -> Any:
    """One for each state of the files: TFDS never lets go of any that it makes."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(directory)


def _check_features(directory: Path) -> None:
    """Whether features.json names our records' classes alone: TFDS imports what modules it names.

    Raises:
      UserError: it does not, or it cannot be read.
    """
    path = directory / "features.json"

    def check(item: dict) -> dict:
        for key, value in item.items():
            named = key in ("pythonClassName", "python_class_name") and value not in _FEATURES
            if named or key in ("type", "content", "jsonFeature", "json_feature"):
                raise ValueError(f"it asks for {value!r:.80}")
        return item

    try:
        read_json(path, dict, object_hook=check)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as features of TFDS ({error})") from None


def parse(features: Mapping, names: Sequence[str] = _NAMES) -> dict:
    """A record, or some of its fields, from the features of a `tf.train.Example`."""
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
        elif dtype is np.float32:  # packed in the message as they are in memory, at its end
            packed = values.SerializeToString()
            record[name] = np.frombuffer(packed[-4 * math.prod(shape) :], "<f4").reshape(shape)
        else:
            record[name] = np.array(values.value, dtype).reshape(shape)
    return record
