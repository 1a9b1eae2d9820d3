"""Files appear whole or not at all."""

import errno
import subprocess
import sys

import pytest
from faults import closed, full_disk

from maed_jax.errors import UserError
from maed_jax.files.atomic import atomic_write, check_writable


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_there_stays_until_the_new_is_whole(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_write(path, "w") as file:
        file.write("half")
        raise error
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with atomic_write(path, "w") as file:
        file.write("after\u00e9")
        assert path.read_text() == "before"
    assert path.read_text(encoding="utf-8") == "after\u00e9"
    assert list(tmp_path.iterdir()) == [path]


def test_whether_a_file_can_be_written_is_known_before(tmp_path):
    check_writable(None)
    check_writable(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "absent" / "a.txt", tmp_path / "file" / "a.txt"):
        with pytest.raises(UserError, match=f"cannot write {path}: it is a folder, or"):
            check_writable(path)
    with closed(tmp_path), pytest.raises(UserError, match="or not writable"):
        check_writable(tmp_path / "a.txt")


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path, "w") as first:
        first.write("first")
        with atomic_write(path, "w") as second:
            second.write("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_parts_of_others_stay_where_there_are_no_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", flock)
    test_two_writers_do_not_meet(tmp_path)


KILLED = """
import os, signal, sys
from maed_jax.files.atomic import atomic_write
with atomic_write(sys.argv[1], "w") as file:
    print("half", file=file, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_program_left_goes_and_nothing_else(tmp_path):
    path = tmp_path / "a[1].txt"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -9
    (orphan,) = tmp_path.iterdir()
    assert orphan.read_text() == "half\n"
    other = tmp_path / "a[1].txt.0123456789.part"  # not one of our names
    other.write_text("")
    with atomic_write(path, "w") as first:
        assert not orphan.exists()
        with atomic_write(path, "w"):
            assert len(list(tmp_path.iterdir())) == 3
        first.write("first")
    assert path.read_text() == "first"
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_no_room(tmp_path):
    path = tmp_path / "a.bin"
    with full_disk(1000), pytest.raises(UserError, match="a.bin cannot be written: file too large"):
        with atomic_write(path) as file:
            file.write(bytes(2000))
    assert not list(tmp_path.iterdir())


def test_a_directory_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match="is a directory; give the name of a file"):
        with atomic_write(tmp_path):
            pytest.fail("it was begun")


def test_no_permission(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with closed(tmp_path), pytest.raises(UserError, match="cannot be written: permission denied"):
        with atomic_write(path) as file:
            file.write(b"after")
    assert path.read_bytes() == b"before"
