import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.dispatch([verb, "--help"])
    assert not exit.value.code
    assert f"maed {verb}" in capsys.readouterr().out


def test_a_mistyped_verb_gets_a_suggestion():
    with pytest.raises(UserError, match="no verb 'trian'; did you mean 'train'?"):
        cli.dispatch(["trian"])


def test_a_users_mistake_is_one_line_and_status_one(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.run(fails(UserError("put it there")), [])
    assert exit.value.code == "maed: put it there"  # which Python prints, and exits with 1


def test_an_interrupt_is_no_traceback(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.run(fails(KeyboardInterrupt()), [])
    assert exit.value.code == 130
    assert capsys.readouterr().err == "maed: interrupted\n"


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(fails(ZeroDivisionError()), [])
