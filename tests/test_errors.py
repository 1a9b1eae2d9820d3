import pickle

import pytest

from maed_jax.errors import LONGEST_MESSAGE, UserError, reason


def test_a_message_is_as_it_was_given():
    text = "ü.npz cannot be read: give another — “with” quotes"
    assert str(UserError(text)) == text
    assert str(pickle.loads(pickle.dumps(UserError(text)))) == text  # from worker processes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb", r"a\nb"), ("a\x1b[2Jb", r"a\x1b[2Jb"), ("a\0b", r"a\x00b"), ("\u202ea", r"\u202ea")],
)
def test_it_stays_one_line_that_can_be_read(text, expected):
    assert str(UserError(text)) == expected


def test_a_long_one_keeps_its_start_and_end():
    text = str(UserError("x.json: " + "a" * 10_000 + " is no name"))
    assert text.startswith("x.json: aaa") and text.endswith("aaa is no name")
    assert len(text) < LONGEST_MESSAGE + 10


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.txt"), "no such file or directory"),
        (OSError("no disk"), "no disk"),
        (ValueError("\none\ntwo"), "one"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 200), "x" * 150 + "..."),
    ],
)
def test_the_reason_is_a_part_of_a_sentence(error, said):
    assert reason(error) == said
