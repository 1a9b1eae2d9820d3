import gc
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from fake_dataset import write_fake_dataset

from maed_jax.data import schema
from maed_jax.data.example import parse_example
from maed_jax.data.records import (
    _NAMES,
    Records,
    dataset_directory,
    dataset_name,
    files_of,
    parse,
)
from maed_jax.errors import UserError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    write_fake_dataset(path, [5, 0, 2])
    return path


def test_records_are_what_tfds_reads(data_dir):
    directory = dataset_directory(data_dir, "fake/crops")
    ours = Records(directory, "train")
    theirs = tfds.builder_from_directory(directory).as_data_source("train")
    assert len(ours) == len(theirs) == 7
    for index in range(7):
        record = ours[index]
        assert set(record) == set(theirs[index])
        for name, value in theirs[index].items():
            if name in schema.STRINGS:
                value = value.decode()
            np.testing.assert_array_equal(record[name], value)
            if name in schema.ARRAYS:
                assert record[name].dtype == schema.ARRAYS[name][1], name


def test_frames_of_a_track_follow_each_other(data_dir):
    records = Records(dataset_directory(data_dir, "fake"), "train")
    assert [track.name for track in records.tracks] == ["track0", "track2"]  # 1 is empty
    for track in records.tracks:
        frames = [records[track.start + i] for i in range(track.length)]
        assert [frame["frame"] for frame in frames] == list(range(track.length))
        assert {frame["track"] for frame in frames} == {track.name}


def test_records_travel_to_other_processes(data_dir):
    records = Records(dataset_directory(data_dir, "fake"), "train")
    again = pickle.loads(pickle.dumps(records))
    np.testing.assert_array_equal(again[3]["pose"], records[3]["pose"])
    assert again.tracks == records.tracks and again.split == records.split
    assert len(pickle.dumps(records)) < 2000


def test_records_that_are_gone_leave_no_file_open(data_dir):
    def opened():
        gc.collect()
        return len(os.listdir("/dev/fd"))

    directory = dataset_directory(data_dir, "fake")
    before = opened()
    for _ in range(3):
        records = Records(directory, "train")
        records[0], pickle.loads(pickle.dumps(records))[0]
        del records
    assert opened() == before


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    folder = write_fake_dataset(tmp_path, [6], shards=3)
    info = json.loads((folder / "dataset_info.json").read_text())
    assert [len(split["shardLengths"]) for split in info["splits"]] == [3]
    records, (files,) = Records(folder, "train"), files_of(folder).values()
    assert [path.name for path in files] == [
        f"fake-train.array_record-0000{i}-of-00003" for i in range(3)
    ]
    assert [record["frame"] for record in map(records.read, range(6))] == list(range(6))
    list(files)[1].unlink()
    with pytest.raises(UserError, match="00001-of-00003 is damaged: 0 of its 2 records"):
        Records(folder, "train")


def test_a_description_leads_to_no_file_outside_of_its_folder(record_file):
    path = record_file.parent / "dataset_info.json"
    (record_file.parent / "a").mkdir()
    record_file.rename(record_file.parent / "a" / record_file.name)
    path.write_text(path.read_text().replace('"fake"', '"a/fake"'))
    with pytest.raises(UserError, match=f"{record_file} is damaged: 0 of its 3 records"):
        Records(record_file.parent, "train")


def test_a_split_without_records(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"name": "a", "splits": [{"name": "test"}]}')
    with pytest.raises(UserError, match="split 'test' of .* has no records"):
        Records(tmp_path, "test")


def test_a_dataset_that_was_made_anew_is_described_anew(tmp_path):
    for lengths in ([5], [3, 1]):
        shutil.rmtree(tmp_path)
        write_fake_dataset(tmp_path, lengths)
        records = Records(dataset_directory(tmp_path, "fake"), "train")
        assert [track.length for track in records.tracks] == lengths
        assert len(records) == sum(lengths)


def test_the_newest_version_is_taken(tmp_path):
    for version in ("1.9.0", "1.10.0", "2.0.0", "incomplete.1_3.0.0"):
        (tmp_path / "set" / "crops" / version).mkdir(parents=True)
    for version in ("1.9.0", "1.10.0", "incomplete.1_3.0.0"):  # 2.0.0 has not been completed
        (tmp_path / "set" / "crops" / version / "dataset_info.json").touch()
    newest = tmp_path / "set" / "crops" / "1.10.0"
    assert dataset_directory(tmp_path, "set/crops") == newest
    assert dataset_directory(tmp_path, "set") == newest
    assert dataset_directory(newest) == newest
    (tmp_path / "set" / "frames" / "1.0.0").mkdir(parents=True)
    (tmp_path / "set" / "frames" / "1.0.0" / "dataset_info.json").touch()
    with pytest.raises(UserError, match="choose from set/crops, set/frames"):
        dataset_directory(tmp_path, "set")
    with pytest.raises(UserError, match="choose from crops, frames$"):
        dataset_directory(tmp_path / "set")


def test_a_missing_dataset_says_how_to_prepare_it(tmp_path):
    with pytest.raises(
        UserError, match="--data_dir .*build mannequins --data_dir .* --config crop"
    ):
        dataset_directory(tmp_path, "mannequins/crops")
    with pytest.raises(UserError, match="--config.data.data_dir.* build coco --manual_dir RAW --d"):
        dataset_directory(tmp_path, "coco/crops")
    with pytest.raises(UserError, match="build one with `maed data build`"):
        dataset_directory(tmp_path)


def test_a_dataset_goes_by_the_name_that_everyone_uses(tmp_path):
    with pytest.raises(UserError, match="in .*/threedpw/crops: .*build 3dpw .* --config crops"):
        dataset_directory(tmp_path, "threedpw/crops")
    directory = write_fake_dataset(tmp_path, [2], name="threedpw")
    for name in ("3dpw/crops", "threedpw/crops", "3dpw"):
        assert dataset_directory(tmp_path, name) == directory
    assert dataset_name(tmp_path, directory.parent) == "3dpw/crops"
    for own in (directory.parent, directory):
        assert dataset_name(own, directory.parent) == "crops"
    with pytest.raises(UserError, match="has 3dpw/crops; say where"):
        dataset_directory(tmp_path, "garden/crops")


def test_a_missing_split_lists_those_there_are(data_dir):
    with pytest.raises(UserError, match="no split 'validation'; it has train"):
        Records(dataset_directory(data_dir, "fake"), "validation")


def test_tracks_beyond_the_records_are_noticed(tmp_path):
    directory = write_fake_dataset(tmp_path, [2])
    schema.write_tracks(directory, "train", [schema.Track("a", 0, 3)])
    with pytest.raises(UserError, match="3 records, but there are 2"):
        Records(directory, "train")


def test_records_of_another_schema_are_noticed(data_dir, monkeypatch):
    monkeypatch.setattr("maed_jax.data.records._NAMES", (*_NAMES, "temperature"))
    with pytest.raises(UserError, match="lack temperature"):
        Records(dataset_directory(data_dir, "fake"), "train")


def test_records_of_another_shape_are_noticed(data_dir):
    features = parse_example(Records(dataset_directory(data_dir, "fake"), "train")._source[0])
    for name, sizes in (("pose", (0, 1, 31, 32, 71, 73, 5000)), ("box", (0, 3, 5, 31, 32))):
        for size in sizes:
            del features[name].float_list.value[:]
            features[name].float_list.value.extend([0.5] * size)
            with pytest.raises(ValueError):
                parse(features, [name])
    features["image_size"].int64_list.value.append(3)
    features["frame"].bytes_list.value.append(b"1")
    for name, error in (("image_size", ValueError), ("frame", IndexError)):
        with pytest.raises(error):
            parse(features, [name])


@pytest.fixture
def record_file(tmp_path):
    """A dataset's only file of records, with 3 readable records."""
    folder = write_fake_dataset(tmp_path, [3])
    (file,) = folder.glob("*array_record*")
    return file


@pytest.mark.parametrize("keep", [0, 1000, 65536, -1])
def test_a_file_that_was_cut_short_is_refused(record_file, keep):
    record_file.write_bytes(record_file.read_bytes()[:keep])
    with pytest.raises(UserError, match="00000-of-00001 is damaged: 0 of its 3 records.*rebuild"):
        Records(record_file.parent, "train")
    record_file.unlink()
    with pytest.raises(UserError, match="0 of its 3 records"):
        Records(record_file.parent, "train")


def test_a_damaged_record_is_named_and_the_others_stay_readable(record_file):
    data = bytearray(record_file.read_bytes())
    data[3500] ^= 1  # of the second: each takes some 2400 bytes
    record_file.write_bytes(data)
    records = Records(record_file.parent, "train")
    with pytest.raises(UserError, match="is damaged in record 1 .*rebuild"):
        records[1]
    assert records[0]["frame"] == 0 and records[2]["frame"] == 2


def test_a_file_cut_short_while_it_is_read(record_file):
    records = Records(record_file.parent, "train")
    record_file.write_bytes(record_file.read_bytes()[:65536])
    with pytest.raises(UserError, match="is damaged in record 0"):
        records[0]


def test_a_dataset_that_is_not_there_is_reported_with_what_is(data_dir, tmp_path):
    for name, says in (
        ("fake/cropz", r"did you mean fake/crops\?$"),
        ("fke/cros", r"did you mean fake/crops\?$"),
        ("garden/crops", "has fake/crops; say where .*data_dir[^`]*$"),  # no builder for it
        ("mannequinz/demo", r"; did you mean mannequins\?$"),
        ("mannequins/demo", "has fake/crops; .*`maed data build mannequins --data_dir"),
        ("", f"itself: choose from {data_dir}/fake/crops$"),
    ):
        with pytest.raises(UserError, match=f"no prepared dataset in .*{says}"):
            dataset_directory(data_dir, name)
    with pytest.raises(UserError, match="has none; .*`maed data build 3dpw --manual_dir RAW"):
        dataset_directory(tmp_path, "threedpw/crops")
    write_fake_dataset(tmp_path, [1], name="mannequins")
    with pytest.raises(UserError, match="has mannequins/crops; .* data build .* --config demo"):
        dataset_directory(tmp_path, "mannequins/demo")  # similar, but such a dataset exists
    for version in ("plain/1.0.0", "begun/incomplete.1_1.0.0"):
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "dataset_info.json").touch()
    with pytest.raises(UserError, match="has mannequins/crops, plain; say where"):
        dataset_directory(tmp_path, "garden/crops")
