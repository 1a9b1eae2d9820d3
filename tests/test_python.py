"""Messages about mistakes in a user's own code."""

import pytest

from maed_jax.errors import UserError
from maed_jax.files.python import mistakes


def run(tmp_path, code):
    file = tmp_path / "o+n.py"
    file.write_text(code)
    with mistakes(file):
        exec(compile(code, file, "exec"), {})


def test_the_last_line_of_the_file_on_the_way_is_named(tmp_path):
    with pytest.raises(UserError, match=r"o\+n.py, line 3: ValueError: .*: 'x'$"):
        run(tmp_path, "def read():\n    if True:\n        int('x')\nread()")
    with pytest.raises(UserError, match=r"o\+n.py, line 1: AssertionError$"):
        run(tmp_path, "assert 0")
    with pytest.raises(UserError, match=r"o\+n.py: SyntaxError: "):
        run(tmp_path, "\n)")


def test_an_error_that_is_for_the_user_already_stays_as_it_is(tmp_path):
    with pytest.raises(UserError, match="^as it is$"):
        run(tmp_path, "from maed_jax.errors import UserError\nraise UserError('as it is')")
