"""A few dozen inputs as in `scripts/fuzz.py` for each reader, and the fuzzing itself."""

import time

import fuzzing
import pytest
from fuzz_targets import TARGETS
from fuzzing import Target, judge, mutated

from maed_jax.errors import UserError

INPUTS = 30
SEED = 1  # not the script's default


@pytest.fixture(scope="module", params=TARGETS)
def target(request, tmp_path_factory):
    """A reader, valid files for it, and the path that it reads."""
    folder = tmp_path_factory.mktemp("fuzz")
    found = TARGETS[request.param]
    return found, found.seeds(folder), folder / found.file


def test_valid_files_are_read(target):
    reader, seeds, path = target
    for parts in seeds:
        path.write_bytes(reader.pack(parts))
        reader.read(path)


def test_damaged_files_are_read_or_refused_in_one_line(target):
    reader, seeds, path = target
    for number in range(INPUTS):
        path.write_bytes(mutated(reader, seeds, number, SEED))
        _, wrong = judge(reader, path)
        assert not wrong, f"input {number} of seed {SEED}: {wrong}"


def reader(read, **options) -> Target:
    return Target("x", lambda folder: [[b"frame 1 of 20"]], read, **options)


def test_inputs_are_many_and_always_the_same():
    target = reader(None)
    made = [mutated(target, target.seeds(None), number) for number in range(100)]
    assert made == [mutated(target, target.seeds(None), number) for number in range(100)]
    assert len(set(made)) > 80


def test_parts_are_mutated_before_they_are_put_together():
    target = reader(None, pack=lambda parts: b"<" + b"".join(parts) + b">")
    made = [mutated(target, [[b"a" * 40]], number) for number in range(100)]
    whole = [data for data in made if data[:1] == b"<" and data[-1:] == b">"]
    assert sum(data != b"<" + b"a" * 40 + b">" for data in whole) > 20


def fails(error):
    def read(path):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda path: None, (True, "")),
        (fails(UserError("x is damaged")), (False, "")),
        (fails(UserError("")), (False, "a message of 0 characters")),
        (fails(KeyError("y")), (False, "KeyError at test_fuzz.py")),
    ],
)
def test_what_is_wrong_is_reported(tmp_path, read, expected):
    taken, wrong = judge(reader(read), tmp_path / "x")
    assert (
        taken == expected[0] and wrong.startswith(expected[1]) and bool(wrong) == bool(expected[1])
    )


def test_readers_are_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "SECONDS", 0.1)

    def read(path):
        begin = time.process_time()
        try:
            while time.process_time() < begin + 5:
                pass
        except Exception:
            pass

    assert judge(reader(read), tmp_path / "x") == (False, "it took more than 0.1 s")
