import errno
import signal
import subprocess
import sys
import time
from importlib.machinery import ExtensionFileLoader

import pytest

import maed_jax
from maed_jax import cli
from maed_jax.errors import UserError


def fails(error):
    def main(argv):
        raise error

    return main


def test_help_names_every_verb_and_does_not_load_jax():
    code = "import sys, maed_jax.cli as c; c.dispatch(['-h']); assert 'jax' not in sys.modules"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {verb}" in out.stdout for verb in cli.VERBS)


def test_no_verb_loads_jax_to_explain_itself():
    code = """
import contextlib, sys
from maed_jax import cli
for verb in cli.VERBS:
    with contextlib.suppress(SystemExit):
        cli.dispatch([verb, "--help"])
    assert "jax" not in sys.modules, verb
"""
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.dispatch([verb, "--help"])
    assert not exit.value.code
    assert f"maed {verb}" in capsys.readouterr().out


def test_version(capsys):
    cli.dispatch(["--version"])
    assert capsys.readouterr().out == f"maed_jax {maed_jax.__version__}\n"


def test_a_mistyped_verb_gets_a_suggestion():
    with pytest.raises(UserError, match="no verb 'trian'; did you mean train"):
        cli.dispatch(["trian"])


def test_a_users_mistake_is_one_line_and_status_one(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.run(fails(UserError("put it there")), [])
    assert exit.value.code == "maed: put it there"  # Python prints it and exits with 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
def test_refused_files_are_one_line_too(number):
    error = OSError(number, "No", "/root/runs/checkpoints")
    with pytest.raises(SystemExit, match="^maed: cannot read or write /root/runs/checkpoints: no"):
        cli.run(fails(error), [])


def test_names_that_are_not_unicode_can_be_printed(capsys):
    cli.run(lambda argv: print("caf\udce9.mp4"), [])
    assert capsys.readouterr().out == "caf?.mp4\n"


def test_an_interrupt_is_no_traceback(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.run(fails(KeyboardInterrupt()), [])
    assert exit.value.code == 130
    assert capsys.readouterr().err == "maed: interrupted\n"


@pytest.fixture
def ctrl_c():
    """Ctrl-C; restores whatever it changes in this process."""
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before[0])
    sys.unraisablehook = before[1]


class Dropping:
    """Python prints and drops errors in `__del__`, as in callbacks."""

    def __init__(self, act):
        self.act = act

    def __del__(self):
        self.act()


def inside_a_callback(ctrl_c):
    Dropping(ctrl_c)
    time.sleep(10)


def made_another_error(ctrl_c):
    try:
        ctrl_c()
    except KeyboardInterrupt:
        raise ImportError("half an import") from None


@pytest.mark.parametrize("happen", [inside_a_callback, made_another_error])
def test_an_interrupt_is_never_lost(happen, ctrl_c, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.run(lambda argv: happen(ctrl_c), [])
    assert exit.value.code == 130
    assert capsys.readouterr().err == "maed: interrupted\n"
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # a second one ends it at once


def test_an_interrupt_waits_for_a_library_that_is_being_loaded(ctrl_c, monkeypatch):
    """Some libraries crash when interrupted in their own C++ code."""
    loaded = []

    def load(module):
        ctrl_c()
        time.sleep(0.05)  # it comes again meanwhile, and is delayed again
        loaded.append(module)

    def main(argv):
        ExtensionFileLoader("library", "library.so").exec_module("library")
        time.sleep(10)

    monkeypatch.setattr("_imp.exec_dynamic", load)
    with pytest.raises(SystemExit) as exit:
        cli.run(main, [])
    assert exit.value.code == 130 and loaded == ["library"]


def test_an_interrupt_may_say_what_is_left(capsys):
    with pytest.raises(SystemExit):
        cli.run(fails(KeyboardInterrupt("stopped; the same command resumes")), [])
    assert capsys.readouterr().err == "maed: stopped; the same command resumes\n"


def test_an_ignored_interrupt_stays_ignored(ctrl_c):
    """As in commands that a script runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cli.run(lambda argv: ctrl_c(), [])
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(fails(ZeroDivisionError()), [])


def test_after_its_end_a_command_ignores_ctrl_c(ctrl_c, monkeypatch):
    monkeypatch.setattr(cli, "dispatch", lambda argv: None)
    cli.main()
    ctrl_c()


def test_after_ctrl_c_the_command_waits_for_its_threads_and_leaves(ctrl_c, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(cli, "dispatch", fails(KeyboardInterrupt("stopped")))
    monkeypatch.setattr(cli.threading, "_shutdown", lambda: done.append("threads"))
    monkeypatch.setattr(cli.atexit, "_run_exitfuncs", lambda: done.append("exits"))
    monkeypatch.setattr(cli.os, "_exit", done.append)
    with pytest.raises(SystemExit):
        cli.main()
    assert done == ["threads", "exits", 130] and capsys.readouterr().err == "maed: stopped\n"
    monkeypatch.setattr(cli, "dispatch", fails(UserError("wrong")))
    with pytest.raises(SystemExit, match="maed: wrong"):
        cli.main()
    assert len(done) == 3
