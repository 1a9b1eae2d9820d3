"""The base of builders of real images: resuming, records, counts, crops."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import raw_toy
from raw_toy import Toy, person

from maed_jax.data import prepare, schema
from maed_jax.data.records import Records
from maed_jax.errors import UserError

SCRIPT = """
import sys, raw_toy
from maed_jax.data import prepare
prepare.builder_class = lambda name: raw_toy.Toy
prepare.build("toy", sys.argv[1], "crops", manual_dir=sys.argv[2], processes=1)
"""


@pytest.fixture(autouse=True)
def only_toy(monkeypatch):
    monkeypatch.setattr(prepare, "builder_class", lambda name: Toy)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return raw_toy.write(tmp_path_factory.mktemp("raw") / "toy")


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    """Built without interruption, by two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "builder_class", lambda name: Toy)
        data_dir = tmp_path_factory.mktemp("data")
        return prepare.build("toy", data_dir, "crops", manual_dir=raw, processes=2)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name not in ("dataset_info.json", "options.json")  # time and place of the build
    }


@pytest.fixture
def build(monkeypatch):
    """Builds in this process."""
    raw_toy.in_this_process(monkeypatch)

    def build(raw, data_dir, config="crops", **options):
        return prepare.build("toy", data_dir, config, manual_dir=raw, **options)

    return build


def test_missing_parts(tmp_path, capsys):
    def builder(**options):
        return Toy(data_dir=tmp_path, config="crops", manual_dir="raw", **options)

    builder().report_missing([])
    with pytest.raises(UserError, match="raw lacks a, b; --partial builds from the rest"):
        builder().report_missing(["a", "b"])
    with pytest.raises(UserError, match="raw lacks a$"):
        builder(partial=True).report_missing(["a"], found=False)
    assert not capsys.readouterr().err
    builder(partial=True).report_missing(list("abcdef"))
    assert capsys.readouterr().err == "maed: raw lacks a, b, c, d and 2 more: continuing without\n"


def test_what_was_built_reads_back(built):
    tracks = schema.read_tracks(built, "train")
    assert [(t.name, t.start, t.length, t.subset) for t in tracks] == [
        ("seq1", 0, 3, "plain"), ("seq2", 3, 3, "plain"), ("seq3", 6, 3, "plain"),
    ]  # fmt: skip
    records = Records(built, "train")
    for track in tracks:
        for frame in range(track.length):
            record = records[track.start + frame]
            assert (record["track"], record["frame"]) == (track.name, frame)
            assert record["frame_rate"] == 25 and record["has_smpl"] and not record["has_3d"]
            assert record["source"] == "toy" and record["valid"]
    report = json.loads((built / "report.json").read_text())
    assert report["train"] == {
        "tracks": 3, "frames": 9, "people": 9, "with_smpl": 9, "with_3d": 0,
        "dropped": {"too small": 3}, "mended": {},
    }  # fmt: skip
    text = prepare.summary(built)
    assert "9 people in 9 images" in text and "3 left out: too small" in text
    assert not [p for p in built.parents[2].iterdir() if p.name.startswith(".")]


def test_a_killed_build_goes_on_where_it_was(raw, built, tmp_path, capfd, build):
    with _running(raw, tmp_path) as process:
        finished = _wait_for(lambda: list(tmp_path.glob(".parts-*/parts/*/*.json")))
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "toy").exists(), "nothing there looks like a dataset"
    _wait_for(lambda: not any(worker.is_running() for worker in workers))  # no orphans
    assert len(finished) == 1
    folder = build(raw, tmp_path)
    assert "1 of 4 tasks were done before" in capfd.readouterr().err
    assert contents(folder) == contents(built)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_an_interrupted_build_keeps_its_finished_parts(raw, tmp_path):
    with _running(raw, tmp_path) as process:
        _wait_for(lambda: list(tmp_path.glob(".parts-*/parts/*/*.json")))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    assert not (tmp_path / "toy").exists()
    assert list(tmp_path.glob(".parts-*/parts/*/*.json"))


def test_a_damaged_part_is_made_again(raw, built, tmp_path):
    builder = Toy(manual_dir=raw, data_dir=tmp_path, config="crops", processes=1)
    builder.parts = tmp_path / "parts"
    jobs = builder._jobs()
    from maed_jax.datasets import parts

    for job in jobs["train"][:2]:
        parts.make(job)
    assert [parts.finished(job) is not None for job in jobs["train"]] == [True, True, False]
    truncated = jobs["train"][0].stem.with_suffix(".records")
    truncated.write_bytes(truncated.read_bytes()[:-1])
    jobs["train"][1].stem.with_suffix(".json").write_text("{")
    assert not any(parts.finished(job) for job in jobs["train"])


def test_frames_are_the_files_themselves(raw, tmp_path, build):
    folder = build(raw, tmp_path, "frames")
    records = Records(folder, "test")
    for index in range(3):
        record = records[index]
        assert record["image"] == (raw / f"seq0/{index}.jpg").read_bytes()
        assert tuple(record["image_size"]) == (48, 64)
        np.testing.assert_array_equal(record["keypoints_2d"], np.float32(person(b"").keypoints_2d))


def test_images_at_fault_cost_only_themselves(tmp_path, build):
    raw = raw_toy.write(tmp_path / "raw", sequences=2)
    half = (raw / "seq1/1.jpg").read_bytes()
    (raw / "seq1/1.jpg").write_bytes(half[: len(half) // 2])
    (raw / "seq1/2.jpg").unlink()
    (raw / "seq1/2.jpg").symlink_to(raw / "nowhere.jpg")
    folder = build(raw, tmp_path)
    report = json.loads((folder / "report.json").read_text())["train"]
    assert report["dropped"] == {"missing image": 1, "too small": 1, "unreadable image": 1}
    assert (report["tracks"], report["frames"], report["people"]) == (1, 1, 1)
    assert len(Records(folder, "train")) == 1


def test_mistakes_have_one_line_and_leave_no_dataset(tmp_path, build):
    with pytest.raises(UserError, match="no folder.*--manual_dir"):
        build(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing to read"):
        build(tmp_path / "empty", tmp_path)
    assert not list(tmp_path.glob(".parts*")), "kept without a part to resume from"
    raw = raw_toy.write(tmp_path / "raw", sequences=2, frames=1)
    (raw / "seq1/0.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="'train'.*was kept.*unreadable image: 1"):
        build(raw, tmp_path)
    assert not (tmp_path / "toy").exists()


def test_two_at_once_are_reported(tmp_path, build):
    import fcntl

    raw = raw_toy.write(tmp_path / "raw", sequences=1, frames=1)
    (raw / "seq0/0.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="was kept"):
        build(raw, tmp_path)  # leaves the parts that it has read
    (lock,) = tmp_path.glob(".parts-*/lock")
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use"):
            build(raw, tmp_path)


def test_shards_hold_all_records_in_order(built, raw, tmp_path, monkeypatch, build):
    from maed_jax.datasets import source

    sizes = [len(Records(built, "train")[i]["image"]) for i in range(9)]
    monkeypatch.setattr(source, "SHARD_SIZE", 2 * sizes[0])
    folder = build(raw, tmp_path)
    assert len(list(folder.glob("toy-train.array_record-*"))) > 3
    expected, found = Records(built, "train"), Records(folder, "train")
    assert len(found) == 9
    assert all(expected[i]["image"] == found[i]["image"] for i in range(9))
    assert schema.read_tracks(folder, "train") == schema.read_tracks(built, "train")


class _running:
    """A build in a separate process that stops at its second task."""

    def __init__(self, raw, data_dir):
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(data_dir), str(raw)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), raw_toy.STOP: "seq2"},
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        self.process.kill()


def _wait_for(condition, seconds: float = 30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found
