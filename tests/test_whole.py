"""datasets/whole.py: what is missing is an error unless the user says otherwise."""

from pathlib import Path

import pytest

from maed_jax.data.parallel import find_datasets
from maed_jax.errors import UserError

find_datasets()
from maed_jax.datasets.whole import complain  # noqa: E402


def test_missing_parts(capsys):
    complain(Path("raw"), [], partial=False)
    with pytest.raises(UserError, match="raw lacks a, b; --partial makes do with what there is"):
        complain(Path("raw"), ["a", "b"], partial=False)
    assert not capsys.readouterr().err
    complain(Path("raw"), list("abcdef"), partial=True)
    assert capsys.readouterr().err == "maed: raw lacks a, b, c, d and 2 more: going on without\n"
