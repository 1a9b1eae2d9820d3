"""The builder's plans, and reading its output without TensorFlow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyvista")
from maed_jax.data import prepare, schema
from maed_jax.data.images import decode_image
from maed_jax.datasets.mannequins import film, mannequins, motion
from maed_jax.errors import UserError

CONFIGS = {config.name: config for config in mannequins.Mannequins.BUILDER_CONFIGS}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a dataset built with two processes."""
    data_dir = tmp_path_factory.mktemp("data")
    return prepare.build("mannequins", data_dir, "tiny", processes=2, seed=4)


@pytest.mark.parametrize("name", CONFIGS)
def test_plans(name):
    config = CONFIGS[name]
    plans = mannequins.plan(config, seed=1)
    assert plans == mannequins.plan(config, seed=1)
    names = [each.name for part in plans.values() for each in part]
    assert len(names) == len(set(names)) == config.train + config.validation + config.test
    counts = {split: getattr(config, split) for split in ("train", "validation", "test")}
    assert {split: len(part) for split, part in plans.items()} == {
        split: count for split, count in counts.items() if count
    }
    for each in (tests := plans.get("test", [])):
        assert each.kind == "extreme" if each.subset == "extreme" else each.kind in motion.EVERYDAY
    subsets = [each.subset for each in tests]
    assert {subsets.count(s) for s in mannequins.SUBSETS} == {config.test // 4}
    for part in plans.values():
        assert all(config.frames[0] <= each.frames <= config.frames[1] for each in part)
    assert {each.every for each in plans["train"]} == {config.train_every}
    assert all(each.every == 1 for each in plans.get("validation", []) + tests)
    if config.train > 20:
        assert {each.kind for each in plans["train"]} == set(motion.MOTIONS)


def test_seeds_and_splits_share_nobody():
    rolls = {
        film.Plan(split, number, seed).rng().random()
        for split in ("train", "validation", "test")
        for number in range(20)
        for seed in range(3)
    }
    assert len(rolls) == 180


def test_stills_have_three_images_of_a_person():
    plan = mannequins.plan(CONFIGS["demo_stills"], seed=1)["train"][3]
    records = film.track(plan)
    assert [record["frame"] for record in records] == [0, 20, 40]
    assert all(record["keypoints_2d"].shape == (49, 3) for record in records)


def test_a_dataset_may_have_one_split_alone(tmp_path, monkeypatch):
    people = mannequins.plan(CONFIGS["demo_stills"])["train"][:3]
    monkeypatch.setattr(mannequins, "plan", lambda *_: {"train": people})
    built = prepare.build("mannequins", tmp_path, "demo_stills", processes=1)
    assert [track.length for track in schema.read_tracks(built, "train")] == [3, 3, 3]
    assert not schema.tracks_path(built, "test").exists()


def test_recorded_motions_take_half_of_the_tracks(tmp_path):
    from test_mocap import write_bvh

    walk = motion.make("walking", np.random.default_rng(0), 200, fps=30)
    t_world_root = np.zeros((200, 3)) + [0, 0.9, 0]
    write_bvh(tmp_path / "walk.bvh", walk.rotations, t_world_root, fps=30)
    config = CONFIGS["tiny"]
    plans = mannequins.plan(config, folder=tmp_path)
    recorded = [each for part in plans.values() for each in part if each.recording]
    assert recorded and all(each.kind == "recorded" for each in recorded)
    records = film.track(recorded[0])
    assert len(records) == recorded[0].frames and "recorded" in records[0]["source"]
    start = recorded[0].recording[1]
    expected = walk.rotations[start, 4]  # of the left knee, kept but for rounding in the file
    from scipy.spatial.transform import Rotation

    found = Rotation.from_rotvec(records[0]["pose"][12:15]).as_matrix()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    with pytest.raises(UserError, match="as long as"):
        mannequins.plan(CONFIGS["crops"], folder=_short(tmp_path / "short", walk))


def _short(folder, walk):
    from test_mocap import write_bvh

    folder.mkdir()
    write_bvh(folder / "short.bvh", walk.rotations[:20], np.zeros((20, 3)), fps=30)
    return folder


def test_what_was_built_reads_back_without_tensorflow(tiny):
    script = """
import sys, tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
for split in ("train", "validation", "test"):
    source = builder.as_data_source(split)
    records = [source[i] for i in range(len(source))]
    print(split, len(records), len({r["track"] for r in records}), len(records[0]["image"]))
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny)], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        split, records, tracks, size = line.split()
        table = schema.read_tracks(tiny, split)
        assert sum(track.length for track in table) == int(records)
        assert len(table) == int(tracks) and int(size) > 500


def test_tracks_lie_where_the_table_says_and_are_what_was_filmed(tiny):
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(tiny).as_data_source("test")
    plans = mannequins.plan(CONFIGS["tiny"], seed=4)["test"]
    for track, plan in zip(schema.read_tracks(tiny, "test"), plans, strict=True):
        assert (track.name, track.subset, track.length) == (plan.name, plan.subset, plan.frames)
        for i in range(track.length):
            record = source[track.start + i]
            assert record["frame"] == i and record["track"].decode() == track.name
    again = film.track(plans[-1])
    assert record["image"] == again[-1]["image"], "equal in any process"
    assert decode_image(record["image"]).shape == (96, 96, 3)
    np.testing.assert_array_equal(record["pose"], again[-1]["pose"])


def test_nothing_but_the_dataset_is_left(tiny):
    data_dir = tiny.parents[2]
    assert sorted(p.name for p in data_dir.iterdir()) == ["mannequins"]
    assert [Path(p).name for p in tiny.parent.iterdir()] == ["1.3.0"]
