import dataclasses
import json

import numpy as np
import pytest
import test_index_page

from maed_jax.errors import UserError
from maed_jax.inference.results import (
    FORM,
    SUMMARY,
    Person,
    load_person,
    load_results,
    load_results_body,
    publish,
    save_person,
    summary,
    write_summary,
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
        joints_3d=normal(24, 3),
    )


def test_a_person_is_printed_and_compared_without_arrays():
    one = person()
    assert repr(one) == "<Person 1: 3 frames, 3 to 5>"
    assert one in [person(), one] and one != person()


def test_a_person_comes_back(tmp_path):
    before = person()
    save_person(tmp_path / "person_1.npz", before)
    after = load_person(tmp_path / "person_1.npz")
    assert after.id == 1 and isinstance(after.id, int) and len(after) == 3
    for field in dataclasses.fields(Person):
        np.testing.assert_array_equal(getattr(after, field.name), getattr(before, field.name))
    assert before.raw_shape is None and after.raw_shape is None  # nothing was averaged
    averaged = dataclasses.replace(before, raw_shape=before.shape + 1)
    save_person(tmp_path / "person_1.npz", averaged)
    after = load_person(tmp_path / "person_1.npz")
    np.testing.assert_array_equal(after.raw_shape, averaged.raw_shape)


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
    content = summary(people, video={"frames": 8}, model={}, overlay=None)
    assert content["people_in_frame"] == [[], [], [], [1], [1], [1, 2], [2], []]
    assert content["people"][0] == {
        "id": 1, "file": "person_1.npz", "frames": 3, "first_frame": 3, "last_frame": 5,
        "detected": 2,
    }  # fmt: skip
    write_summary(tmp_path, content)
    assert json.loads((tmp_path / SUMMARY).read_text()) == content
    assert "[1,2]" in (tmp_path / SUMMARY).read_text()


def test_earlier_results_are_replaced_and_other_files_kept(tmp_path):
    stage, out = tmp_path / "stage", tmp_path / "out"
    for folder in (stage, out, out / "person_3_obj"):
        folder.mkdir()
    for name in (SUMMARY, "person_1.npz", "person_12.npz", "overlay.mp4", "mine.npz", "people.glb"):
        (out / name).write_text("old")
    (out / "person_3_obj" / "000001.obj").write_text("old")
    for name in (SUMMARY, "person_1.npz"):
        (stage / name).write_text("new")
    publish(stage, out)
    expected = {SUMMARY: "new", "person_1.npz": "new", "mine.npz": "old"}
    assert {path.name: path.read_text() for path in out.iterdir()} == expected
    for name in (SUMMARY, "overlay.mp4"):
        (stage / name).write_text("newer")
    publish(stage, out, replace=False)
    expected |= {SUMMARY: "newer", "overlay.mp4": "newer"}
    assert {path.name: path.read_text() for path in out.iterdir()} == expected


@pytest.mark.parametrize(
    "text", ["/v/Dance [2021 05 03].mp4", 'a "[1, 2]" \\', '"[1 2]', "[1 2]", "", "\udce9 [1 2]"]
)
def test_texts_are_written_as_they_are(tmp_path, text):
    content = {"path": text, text: [1, 2], "all": [text, [3, 4], text]}
    write_summary(tmp_path, content)
    assert json.loads((tmp_path / SUMMARY).read_text()) == content
    assert "[1,2]" in (tmp_path / SUMMARY).read_text()


def test_the_body_is_the_checkpoints(tmp_path):
    content = {"model": {"checkpoint": str(tmp_path), "body": "smpl"}}
    with pytest.raises(UserError, match="config.json does not say.*--body"):
        load_results_body(content)
    (tmp_path / "config.json").write_text('{"body": "/old/smpl"}')
    with pytest.raises(UserError, match="--body gives another.*: /old/smpl does not exist"):
        load_results_body(content)
    (tmp_path / "config.json").write_text('{"body": "mannequin"}')
    with pytest.raises(UserError, match="of the body 'smpl', not 'mannequin'"):
        load_results_body(content)
    content["model"]["body_path"] = "/given/smpl"
    with pytest.raises(UserError, match="--body gives another.*: /given/smpl does not exist"):
        load_results_body(content)
    with pytest.raises(UserError, match="/new/smpl does not exist"):
        load_results_body(content, "/new/smpl")


def test_the_mannequin_needs_no_checkpoint():
    content = {"model": {"checkpoint": "/nowhere", "body": "mannequin"}}
    assert load_results_body(content).name == "mannequin"


@pytest.mark.parametrize("name", ["format", *FORM])
def test_what_readers_rely_on_has_to_be_there(tmp_path, name):
    content = test_index_page.content(people=[])
    write_summary(tmp_path, content)
    load_results(tmp_path)
    del content[name]
    write_summary(tmp_path, content)
    with pytest.raises(UserError, match=f"results.json cannot be read.*lacks '{name}'"):
        load_results(tmp_path)


def test_results_of_a_newer_format_are_refused(tmp_path):
    write_summary(tmp_path, {"format": 99})  # whatever else it contains
    with pytest.raises(UserError, match="results.json .*has format 99, newer than 1: update"):
        load_results(tmp_path)


def test_a_video_has_as_many_frames_as_are_listed(tmp_path):
    """Readers allocate memory for all of them, and a large number is easily written."""
    save_person(tmp_path / "person_1.npz", person(1))
    content = test_index_page.content(people=test_index_page.content()["people"][:1])
    write_summary(tmp_path, content)
    assert len(load_results(tmp_path)[1]) == 1
    for frames in (19, 21, 1 << 26):
        content["video"]["frames"] = frames
        write_summary(tmp_path, content)
        with pytest.raises(
            UserError, match="results.json .*people_in_frame does not have one entry per"
        ):
            load_results(tmp_path)


@pytest.mark.parametrize(
    ("times", "believed"),
    [
        ([0, 0, 0, 0], False), ([0, 1, 1, 1], False), ([0, 5, 1, 6], False), ([3, 2, 1, 0], False),
        ([2, 2, 3, 4], True), ([0, 1, 1, 2], True),
    ],
)  # fmt: skip
def test_times_that_do_not_go_on_are_those_of_the_frame_rate(tmp_path, times, believed):
    """In everybody's file, so that they stay together."""
    frames = (3, 4, 5, 6), (5, 6)
    people = [person(1, frames[0]), person(2, frames[1])]
    people[0] = dataclasses.replace(people[0], times=np.array(times, float))
    people[1] = dataclasses.replace(people[1], times=np.array([7.0, 8.0]))
    for one in people:
        save_person(tmp_path / f"person_{one.id}.npz", one)
    content = test_index_page.content()
    content["people"] = [
        listed | {"id": one.id, "file": f"person_{one.id}.npz"}
        for listed, one in zip(content["people"], people)
    ]
    write_summary(tmp_path, content)
    _, loaded = load_results(tmp_path)
    expected = (times, [7, 8]) if believed else [np.array(f) / 25 for f in frames]
    for one, known in zip(loaded, expected, strict=True):
        np.testing.assert_allclose(one.times, known)
