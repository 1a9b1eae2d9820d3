import errno
import io
import subprocess
import sys

import numpy as np
import pytest
from faults import closed, full_disk

from maed_jax.errors import UserError
from maed_jax.inference.unfinished import FOLDER, in_memory, many_files, stage_beside, unfinished


def test_what_an_interrupted_run_left_is_there_again(tmp_path):
    out = tmp_path / "a" / "out"
    with pytest.raises(KeyboardInterrupt), unfinished(out, {"video": "a"}) as work:
        work.array("x", (3, 2))[1] = 5
        work.save("found", ids=np.arange(3))
        with work.append("notes") as note:
            note([1, 2.5])
            note(None)
        raise KeyboardInterrupt
    with open(out / FOLDER / "notes.jsonl", "a") as file:
        file.write("[3, 4")  # the process ended within a line
    with unfinished(out, {"video": "a"}) as work:
        np.testing.assert_array_equal(work.array("x", (3, 2)), [[0, 0], [5, 5], [0, 0]])
        assert work.load("found")["ids"].tolist() == [0, 1, 2] and work.load("lost") is None
        assert work.lines("notes") == [[1, 2.5], None] and work.lines("none") == []
        with work.append("notes") as note:
            note(7)
        assert work.lines("notes") == [[1, 2.5], None, 7]
    assert list(out.iterdir()) == []


def damaged(array, change=lambda whole: whole):
    """Returns the bytes of an array's file, changed."""
    file = io.BytesIO()
    np.save(file, array)
    return change(file.getvalue())


ONES = np.ones((3, 2), np.float32)


@pytest.mark.parametrize(
    "left",
    [
        damaged(ONES.T.copy()), damaged(np.asfortranarray(ONES)), damaged(ONES.astype(np.int32)),
        damaged(np.ones((4, 2), np.float32)), damaged(ONES, lambda whole: whole[:-1]),
        damaged(ONES, lambda whole: whole + b"1"), b"text", b"",
    ],
)  # fmt: skip
def test_a_different_or_incomplete_array_is_recreated(tmp_path, left):
    with unfinished(tmp_path, {}) as work:
        (work.folder / "x.npy").write_bytes(left)
        array = work.array("x", (3, 2))
        np.testing.assert_array_equal(array, np.zeros((3, 2)))
        work.array("x", (3, 2))[1] = 5  # as in the next run
        np.testing.assert_array_equal(array[1], [5, 5])


def test_arrays_that_are_saved_are_there_whole(tmp_path):
    with unfinished(tmp_path, {}) as work:
        work.save("found", ids=np.arange(3))
        with full_disk(1000), pytest.raises(OSError):
            work.save("found", ids=np.arange(1000))
        assert work.load("found")["ids"].tolist() == [0, 1, 2]
        (work.folder / "found.npz").write_bytes(b"cut")
        assert work.load("found") is None


@pytest.mark.parametrize("wrong", ["[2\n[3]\n", '"two"\n[3]\n', "[2]"])
def test_lines_up_to_one_that_is_wrong_are_kept(tmp_path, wrong):
    with unfinished(tmp_path, {}) as work:
        (work.folder / "notes.jsonl").write_text("[1]\n" + wrong)
        assert work.lines("notes", [int]) == [[1]]
        with work.append("notes") as note:
            note([4])
            assert work.lines("notes", [int]) == [[1], [4]]  # immediately


def test_a_stage_is_empty_at_first(tmp_path):
    with unfinished(tmp_path, {}) as work:
        for _ in range(2):
            stage = work.stage()
            assert not list(stage.iterdir())
            (stage / "a").touch()
    killed = tmp_path / FOLDER / "added"
    killed.mkdir(parents=True)
    (killed / "a").touch()
    with stage_beside(tmp_path) as stage:
        assert not list(stage.iterdir())


def test_the_order_of_settings_does_not_change_the_job(tmp_path):
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path, {"a": 1, "b": 2}) as work:
        work.array("x", (3,))[:] = 1
        raise KeyboardInterrupt
    with unfinished(tmp_path, {"b": 2, "a": 1}) as work:
        assert (work.array("x", (3,)) == 1).all()


def test_another_job_starts_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path, {"video": "a"}) as work:
        work.array("x", (3,))[:] = 1
        work.stage()
        raise KeyboardInterrupt
    with unfinished(tmp_path, {"video": "b"}) as work:
        assert sorted(path.name for path in work.folder.iterdir()) == ["job.json", "lock"]


@pytest.mark.parametrize("keep", [False, True])
def test_after_a_users_mistake_nothing_is_left_but_what_is_wanted(tmp_path, keep):
    with pytest.raises(UserError), unfinished(tmp_path / "a" / "b", {}) as work:
        work.keep |= keep
        raise UserError("no")
    assert (tmp_path / "a").exists() == keep


def test_a_killed_process_leaves_its_work(tmp_path):
    program = f"""
import os, signal
from maed_jax.inference.unfinished import unfinished
with unfinished({str(tmp_path)!r}, {{}}) as work:
    work.array("x", (1000,))[:] = 3
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    with unfinished(tmp_path, {}) as work:
        assert (work.array("x", (1000,)) == 3).all()


def test_one_run_at_a_time(tmp_path):
    with (
        unfinished(tmp_path, {}) as work,
        pytest.raises(UserError, match="another run is writing"),
        unfinished(tmp_path, {"other": 1}),
    ):
        pass
    assert work.folder == tmp_path / FOLDER


def test_what_is_added_to_results_leaves_an_unfinished_run_alone(tmp_path):
    with stage_beside(tmp_path) as stage:
        (stage / "a").touch()
        with pytest.raises(UserError, match="another run is writing"), unfinished(tmp_path, {}):
            pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path, {}) as work:
        work.array("x", (3,))[:] = 1
        with pytest.raises(UserError, match="another run is writing"), stage_beside(tmp_path):
            pass
        raise KeyboardInterrupt
    for error, shown in ((KeyboardInterrupt, KeyboardInterrupt), (OSError, UserError)):
        with pytest.raises(shown), stage_beside(tmp_path) as stage:
            raise error("no")
        assert not stage.exists()
    with unfinished(tmp_path, {}) as work:
        assert (work.array("x", (3,)) == 1).all()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(UserError, match="cannot write to .*out: it is a file"),
        unfinished(tmp_path / "out", {}),
    ):
        pass
    with pytest.raises(UserError, match="cannot write"), unfinished(tmp_path / "out" / "b", {}):
        pass


def test_read_only(tmp_path):
    with closed(tmp_path), pytest.raises(UserError, match="cannot write to .*permission denied"):
        with unfinished(tmp_path / "out", {}):
            pass


def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path):
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        with unfinished(tmp_path, {}) as work:
            work.array("x", (10_000,))


def test_an_array_without_allocated_space_gets_it_later(tmp_path, monkeypatch):
    taken = []

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path, {}) as work:
        with monkeypatch.context() as patch:
            patch.setattr("os.posix_fallocate", full)
            with pytest.raises(OSError):
                work.array("x", (100,))
        monkeypatch.setattr("os.posix_fallocate", lambda *args: taken.append(args[1:]))
        work.array("x", (100,))
        raise KeyboardInterrupt
    assert taken == [(0, (tmp_path / FOLDER / "x.npy").stat().st_size)]


def test_in_memory():
    assert in_memory("x", (2, 3), bool).dtype == bool and not in_memory("x", (2, 3)).any()


def test_many_files_may_be_open_on_macos(monkeypatch):
    """Its hard limit is infinite, but no soft limit above 10240 is accepted."""
    accepted = []

    def setrlimit(_, limits):
        if limits[0] > 10_240:
            raise ValueError
        accepted.append(limits)

    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1 << 62))
    monkeypatch.setattr("resource.setrlimit", setrlimit)
    with many_files():
        assert accepted == [(10_240, 1 << 62)]
    assert accepted[1:] == [(256, 1 << 62)]


def test_many_files_may_be_open_for_a_while():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with many_files():
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(soft, 256), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
