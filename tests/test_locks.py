"""Locks: one run at a time in a work directory, and none that outlives its process."""

import errno
import os
import subprocess
import sys

import pytest

from maed_jax.errors import UserError
from maed_jax.files import locks
from maed_jax.files.locks import only_run_in

HOLD = "import sys; from maed_jax.files.locks import only_run_in as hold\n"
HOLD += "with hold(sys.argv[1]): print('held', flush=True); sys.stdin.read()"


def test_another_process_is_kept_out_until_it_dies(tmp_path):
    work = tmp_path / "new" / "work"
    command = [sys.executable, "-c", HOLD, str(work)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as owner:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"another run .* \\(process {owner.pid} on"):
            with only_run_in(work):
                pass
        owner.kill()
    with only_run_in(work):
        ours = rf"another run .* \(process {os.getpid()} on [^ ]+\)"  # and no previous owner
        with pytest.raises(UserError, match=ours):
            with only_run_in(work):  # not even from the same process
                pass
    with only_run_in(work):
        pass


def test_a_directory_is_called_as_its_option_is(tmp_path):
    with only_run_in(tmp_path), pytest.raises(UserError, match="or use another --out$"):
        with only_run_in(tmp_path, "--out"):
            pass


class Refused(Exception):
    pass


def test_who_is_refused_leaves_nothing_behind(tmp_path):
    (tmp_path / "mine").mkdir()
    for work in (tmp_path / "new" / "work", tmp_path / "mine", tmp_path):
        there = sorted(tmp_path.rglob("*"))
        with pytest.raises(Refused), only_run_in(work):
            (work / "checkpoints").mkdir()
            raise Refused
        assert sorted(tmp_path.rglob("*")) == there


def test_what_was_written_or_there_before_stays_with_its_lock(tmp_path):
    work = tmp_path / "work"
    with pytest.raises(Refused), only_run_in(work):
        (work / "config.json").write_text("{}")
        raise Refused
    (work / "empty").mkdir()
    with pytest.raises(Refused), only_run_in(work):
        raise Refused
    assert {path.name for path in work.iterdir()} == {"config.json", "empty", locks.NAME}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write in"):
        with only_run_in(tmp_path / "file" / "work"):
            pass


def test_where_there_are_no_locks(tmp_path, monkeypatch):
    def fails(number):
        def flock(file, operation):
            raise OSError(number, "no")

        monkeypatch.setattr(locks.fcntl, "flock", flock)

    with (tmp_path / "a").open("w") as file:
        for none in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            fails(none)
            assert locks.lock(file) and not locks.lock(file, if_unsupported=False)
        fails(errno.EIO)
        with pytest.raises(OSError):
            locks.lock(file)
        with pytest.raises(UserError, match="cannot lock .*: no"), only_run_in(tmp_path):
            pass
