"""`maed data check` finds what is wrong with a prepared dataset, and nothing else."""

import json

import cv2
import numpy as np
import pytest
from fake_dataset import write_fake_dataset

from maed_jax.data import check, prepare, schema, sheet
from maed_jax.data.images import encode_jpeg
from maed_jax.errors import UserError


def sound(index, record):
    """Labels such as a dataset has: 3D keypoints that project onto the 2D ones."""
    record["keypoints_2d"][:, 2] = 1
    space, (fx, fy, cx, cy) = record["keypoints_3d"], record["intrinsics"]
    record["keypoints_2d"][:, 0] = space[:, 0] / space[:, 2] * fx + cx
    record["keypoints_2d"][:, 1] = space[:, 1] / space[:, 2] * fy + cy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return write_fake_dataset(folder, [6, 1, 5], edit=sound)


def found_in(tmp_path, edit, lengths=(4, 3), **options):
    def both(index, record):
        sound(index, record)
        edit(index, record)

    return check.check(write_fake_dataset(tmp_path, list(lengths), edit=both), **options)["train"]


def test_a_sound_dataset_has_no_faults(whole, tmp_path, capsys):
    prepare.main(["check", str(whole), "--out", str(tmp_path / "sheet.png"), "--processes", "1"])
    assert "train: 12 of 12 records examined, no faults" in capsys.readouterr().out
    image = cv2.imread(str(tmp_path / "sheet.png"))
    assert image.shape == (3 * sheet.TILE, 8 * sheet.TILE, 3) and image.std() > 1


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--out", "absent/x.png"], "absent/x.png cannot be written"),
        (["--out", "x"], "x is not the name of an image: use one such as sheet.png"),
        (["--split", "foo"], "has no split 'foo'; it has train"),
        (["--tracks", "-2"], "--tracks: needs a whole number above 0"),
        (["--frames", "0"], "--frames: needs a whole number above 0"),
        (["--processes", "-3"], "--processes: needs a whole number above 0"),
    ],
)
def test_mistakes_are_reported_before_the_work(whole, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "check", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(UserError, match=says):
        prepare.main(["check", str(whole), *arguments])


def test_the_folder_of_its_versions_stands_for_the_newest(whole, tmp_path, capsys):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "1.0.0").symlink_to(whole)
    prepare.main(["check", str(tmp_path / "versions"), "--out", str(tmp_path / "sheet.png")])
    assert "12 of 12 records examined" in capsys.readouterr().out


def put(name, value, where=...):
    def edit(index, record):
        if index == 5:
            record[name] = np.array(record[name], copy=True) if where is not ... else value
            if where is not ...:
                record[name][where] = value

    return edit


FAULTS = [
    ("pose holds numbers that are not finite", put("pose", np.nan, 3)),
    ("keypoints_2d holds numbers", put("keypoints_2d", np.inf, (3, 0))),
    ("image_size is not the image's size", put("image_size", 47, 0)),
    ("image cannot be decoded", put("image", encode_jpeg(np.zeros((48, 40, 3), np.uint8))[:-9])),
    ("not between 0 and 1", put("keypoints_2d", 1.5, (2, 2))),
    ("farther from the image", put("keypoints_2d", 400, (2, 0))),
    ("box has no size", put("box", 0, 2)),
    ("outside the image", put("box", 300, 0)),
    ("focal length is not positive", put("intrinsics", -3, 0)),
    ("neither 0 nor 1", put("keypoints_3d", 0.5, (4, 3))),
    ("without a valid 3D keypoint", put("keypoints_3d", 0, (slice(None), 3))),
    ("not in metres", put("keypoints_3d", np.random.default_rng(0).normal(0, 900, (49, 3)),
                          (slice(None), slice(3)))),
    ("more than a full turn", put("pose", 90, 3)),
    ("not that of any body", put("shape", 80, 3)),
    ("gender is not neutral", put("gender", "m")),
    ("body is neither", put("body", "star")),
    ("source is empty", put("source", "")),
    ("frame_rate is negative", put("frame_rate", -1)),
    ("different track than the table", put("track", "someone else")),
    ("frames are not in ascending order", put("frame", 0)),
]  # fmt: skip


@pytest.mark.parametrize("fault, edit", FAULTS, ids=[fault for fault, _ in FAULTS])
def test_faults_are_found_and_placed(tmp_path, fault, edit):
    findings = found_in(tmp_path, edit)
    (name,) = findings.counts
    assert fault in name and findings.counts[name] == 1 and findings.faulty == 1
    assert findings.first[name].startswith("record 5, track ")


def test_a_record_without_labels(tmp_path):
    def edit(index, record):
        if index == 2:
            record["keypoints_2d"] = record["keypoints_2d"] * np.float32([1, 1, 0])
            record["has_3d"] = record["has_smpl"] = False

    assert found_in(tmp_path, edit).counts == {"there are no labels": 1}


def test_points_in_space_that_belong_elsewhere(tmp_path):
    def mirrored(index, record):
        record["keypoints_3d"] = record["keypoints_3d"] * np.float32([-1, -1, 1, 1])

    assert "project" in next(iter(found_in(tmp_path / "a", mirrored).counts))

    def with_a_gap(index, record):
        mirrored(index, record)
        if index == 2:
            record["keypoints_2d"] = record["keypoints_2d"] * np.float32([np.nan, 1, 1])

    assert any("project" in fault for fault in found_in(tmp_path / "c", with_a_gap).counts)

    def about_the_pelvis(index, record):
        record["keypoints_3d"] = record["keypoints_3d"] - np.float32([0, 0, 4, 0])

    assert not found_in(tmp_path / "b", about_the_pelvis).counts


def test_the_table_of_tracks(tmp_path):
    folder = write_fake_dataset(tmp_path, [4, 3], edit=sound)
    tracks = schema.read_tracks(folder, "train")
    name = tracks[0].name
    schema.write_tracks(
        folder,
        "train",
        [tracks[0], schema.Track(name, 5, 1), schema.Track("empty", 6, 0)],
    )
    counts = check.check(folder)["train"].counts
    assert sorted(counts) == [
        "frames are not in ascending order",
        "the record names a different track than the table",
        "the table does not end where the records do",
        "the table has a track with no frames",
        "the table has tracks that do not follow one another",
        "the table has two tracks with the same name",
    ]


def test_a_table_alone_that_is_broken_is_told_from_records(tmp_path, capsys):
    folder = write_fake_dataset(tmp_path, [4, 3], edit=sound)
    tracks = schema.read_tracks(folder, "train")
    schema.write_tracks(folder, "train", [*tracks, schema.Track("empty", 7, 0)])
    with pytest.raises(UserError, match="is damaged: see above"):
        prepare.main(["check", str(folder), "--out", str(tmp_path / "sheet.png")])
    out = capsys.readouterr().out
    assert "train: 7 of 7 records examined, none with faults, but\n" in out
    assert "1  the table has a track with no frames (first: track empty)" in out


def test_samples_are_runs_spread_over_the_split():
    (chosen,) = check._chunks(100_000, 64)
    assert len(chosen) == 64 and chosen[:9] == [0, 1, 2, 3, 4, 5, 6, 7, chosen[8]]
    assert chosen[8] > 10_000 and chosen[-1] == 99_999
    assert sum(map(len, check._chunks(5000, None))) == 5000
    assert check._chunks(3, 2) == [[0, 1, 2]] or check._chunks(3, 2) == [[0, 1]]
    assert check._chunks(0, 10) == []


def test_processes_find_the_same(whole, monkeypatch):
    monkeypatch.setattr(check, "CHUNK", 4)
    assert check.check(whole, processes=2)["train"] == check.check(whole)["train"]


def test_a_broken_dataset_ends_in_one_line_and_a_sheet(tmp_path, capsys):
    def edit(index, record):
        sound(index, record)
        if index == 0:
            record["image"] = b"\xff\xd8 not much of an image"

    folder = write_fake_dataset(tmp_path, [4], edit=edit)
    with pytest.raises(UserError, match="is damaged: 1 of the examined records"):
        prepare.main(["check", str(folder), "--out", str(tmp_path / "s.png"), "--all"])
    out = capsys.readouterr().out
    assert "1  the image cannot be decoded (first: record 0, track" in out
    assert (tmp_path / "s.png").is_file()


def test_wild_labels_end_in_one_line_and_a_sheet(tmp_path):
    def edit(index, record):
        sound(index, record)
        record["keypoints_2d"][3, 0], record["box"][0] = [(np.nan, 8), (1e12, np.nan)][index % 2]

    folder = write_fake_dataset(tmp_path, [4], edit=edit)
    with pytest.raises(UserError, match="is damaged: 4 of the examined records"):
        prepare.main(["check", str(folder), "--out", str(tmp_path / "s.png")])
    assert (tmp_path / "s.png").is_file()


def test_damaged_shards_are_found(tmp_path):
    folder = write_fake_dataset(tmp_path, [4], edit=sound)
    (shard,) = folder.glob("*.array_record*")
    data = bytearray(shard.read_bytes())
    data[1000:1064] = bytes(64)
    shard.write_bytes(data)
    assert check.check(folder)["train"].counts == {"record cannot be read": 1}


def test_what_is_no_dataset(tmp_path, whole):
    with pytest.raises(UserError, match="is not a prepared dataset"):
        check.check(tmp_path)
    (tmp_path / "dataset_info.json").write_text(json.dumps({"splits": [{}]}))
    with pytest.raises(UserError, match="cannot be read"):
        check.check(tmp_path)
    (tmp_path / "dataset_info.json").write_text(json.dumps({"name": "a", "splits": []}))
    with pytest.raises(UserError, match="has no splits, and so no records: rebuild it"):
        prepare.main(["check", str(tmp_path)])
