import dataclasses
import json
import os

import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.inference.results import (
    SUMMARY,
    Person,
    all_or_nothing,
    load_person,
    save_person,
    summary,
    write_json,
)


def person(id=1, frames=(3, 4, 5)):
    n = len(frames)
    rng = np.random.default_rng(id)

    def normal(*shape):
        return rng.normal(size=(n, *shape)).astype(np.float32)

    return Person(
        id=id,
        frames=np.array(frames),
        times=np.array(frames) / 10,
        boxes=normal(4),
        crops=normal(3),
        detected=np.arange(n) != 1,
        confidence=normal(),
        pose=normal(72),
        rotmat=normal(24, 3, 3),
        shape=normal(10),
        camera=normal(3),
        translation=normal(3),
        keypoints_3d=normal(49, 3),
        keypoints_2d=normal(49, 2),
        intrinsics=np.array([100, 100, 50, 40], np.float32),
    )


def test_a_person_comes_back(tmp_path):
    before = person()
    save_person(tmp_path / "person_1.npz", before)
    after = load_person(tmp_path / "person_1.npz")
    assert after.id == 1 and isinstance(after.id, int) and len(after) == 3
    for field in dataclasses.fields(Person):
        np.testing.assert_array_equal(getattr(after, field.name), getattr(before, field.name))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.write_bytes(b"hello"), "is not a person's file"),
        (lambda path: np.savez(path, frames=[1]), "is not a person's file"),
        (lambda path: np.savez(path, id=np.array([{}])), "is not a person's file"),
    ],
)
def test_other_files_are_refused(tmp_path, make, message):
    make(tmp_path / "person_1.npz")
    with pytest.raises(UserError, match=message):
        load_person(tmp_path / "person_1.npz")


def test_summary_accounts_for_every_frame(tmp_path):
    people = [person(1), person(2, (5, 6))]
    content = summary(people, video={"frames": 8}, model={}, source={}, overlay=False)
    assert content["people_in_frame"] == [[], [], [], [1], [1], [1, 2], [2], []]
    assert content["people"][0] == {
        "id": 1, "file": "person_1.npz", "frames": 3, "first_frame": 3, "last_frame": 5,
        "detected": 2,
    }  # fmt: skip
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == content
    assert "[1,2]" in (tmp_path / "a.json").read_text()


def test_results_appear_at_once(tmp_path):
    out = tmp_path / "a" / "b"
    with all_or_nothing(out) as stage:
        (stage / SUMMARY).write_text("{}")
        (stage / "person_1.npz").write_text("1")
        assert [path.name[0] for path in out.iterdir()] == ["."]
    assert sorted(path.name for path in out.iterdir()) == ["person_1.npz", SUMMARY]


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), MemoryError()])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)), all_or_nothing(tmp_path / "a" / "b") as stage:
        (stage / "person_1.npz").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_earlier_results_alone(tmp_path):
    for name in (SUMMARY, "person_1.npz", "mine.txt"):
        (tmp_path / name).write_text("old")
    with pytest.raises(UserError), all_or_nothing(tmp_path) as stage:
        (stage / SUMMARY).write_text("new")
        raise UserError("no")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        SUMMARY: "old", "person_1.npz": "old", "mine.txt": "old",
    }  # fmt: skip


def test_earlier_results_are_replaced_and_other_files_kept(tmp_path):
    for name in (SUMMARY, "person_1.npz", "person_12.npz", "overlay.mp4", "mine.npz"):
        (tmp_path / name).write_text("old")
    with all_or_nothing(tmp_path) as stage:
        for name in (SUMMARY, "person_1.npz"):
            (stage / name).write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        SUMMARY: "new", "person_1.npz": "new", "mine.npz": "old",
    }  # fmt: skip


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write to .*out"), all_or_nothing(tmp_path / "out"):
        pass
    with pytest.raises(UserError, match="cannot write"), all_or_nothing(tmp_path / "out" / "b"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="permission denied"), all_or_nothing(tmp_path / "out"):
        pass
