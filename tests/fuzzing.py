"""Mutates small valid files and passes them to their readers: only documented errors may result.

`scripts/fuzz.py` does it ten thousand times for each reader, `test_fuzz.py` a few dozen times.
"""

from __future__ import annotations

import contextlib
import io
import random
import re
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from maed_jax.errors import UserError

SECONDS = 10  # CPU time that a reader may take for a file of some kilobytes
MEMORY = 1500  # MB that it may use
NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
           2**40, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
TEXTS = ("0", "-1", "1", "1e308", "-1e308", "1e999", "nan", "-inf", "1e-320", "0.5", "2147483648",
         "9" * 20, "9" * 400, "[]", "{}", "null", "true", '""', "[[[[[[", "\0", "ü", "..",
         "../../x")  # fmt: skip
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Target:
    """A reader, and valid files for it."""

    file: str
    """name of the file"""
    seeds: Callable[[Path], list[list[bytes]]]
    """writes the other files needed in the folder; returns valid files, each in parts to mutate"""
    read: Callable[[Path], object]
    """reads the file at a path"""
    pack: Callable[[list[bytes]], bytes] = b"".join
    """makes a file from its parts; compressed or checksummed parts are mutated before and after"""
    words: tuple[bytes, ...] = ()
    """words with a meaning in such files"""


class TookTooLong(BaseException):
    """Not an Exception, so that no reader catches it."""


def mutated(target: Target, seeds: list[list[bytes]], number: int, seed: int = 0) -> bytes:
    """Returns input `number`, always the same for the same seeds."""
    rng = random.Random(f"{seed} {number}")
    parts = list(rng.choice(seeds))
    if len(parts) > 1 or target.pack != b"".join:
        for _ in range(rng.choice((0, 1, 1, 2))):
            place = rng.randrange(len(parts))
            others = [part for each in seeds for part in each]
            parts[place] = _mutate(parts[place], rng, target, others)
    data = target.pack(parts)
    if rng.random() < 0.5 or not (len(parts) > 1 or target.pack != b"".join):
        others = [target.pack(each) for each in seeds]
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            data = _mutate(data, rng, target, others)
    return data


def _mutate(data: bytes, rng: random.Random, target: Target, others: list[bytes]) -> bytes:
    data = bytearray(data)
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + int(2 ** rng.uniform(0, 12)))
    kind = rng.randrange(11)
    if kind == 0 and data:  # a bit
        data[start - 1] ^= 1 << rng.randrange(8)
    elif kind == 1 and data:  # a byte
        data[start - 1] = rng.choice((0, 0xFF, 0x80, 0x7F, rng.randrange(256)))
    elif kind == 2:  # cut off
        del data[start:]
    elif kind == 3:  # removed
        del data[start:end]
    elif kind == 4:  # repeated
        data[start:start] = data[start:end] * rng.choice((1, 1, 2, 50))
    elif kind == 5:  # a piece from elsewhere
        other = rng.choice(others)
        piece = rng.randrange(len(other) + 1)
        data[start : rng.choice((start, end))] = other[piece : piece + end - start]
    elif kind in (6, 7):  # a binary number
        size = rng.choice("BHIQ")
        value = rng.choice(NUMBERS) % 2 ** (8 * struct.calcsize(size))
        packed = struct.pack(rng.choice("<>") + size, value)
        data[start : start + len(packed)] = packed
    elif kind in (8, 9) and (found := list(NUMBER.finditer(data))):  # a number in text
        where = rng.choice(found)
        data[where.start() : where.end()] = rng.choice(TEXTS).encode()
    else:  # a word
        word = rng.choice(target.words or tuple(text.encode() for text in TEXTS))
        data[start : rng.choice((start, start + len(word)))] = word
    return bytes(data)


def judge(target: Target, path: Path) -> tuple[bool, str]:
    """Runs the reader; returns whether it accepted the file, and what went wrong or ""."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _in_time(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            target.read(path)
        taken, wrong = True, ""
    except UserError as error:
        taken, wrong = False, _unfit(str(error))
    except TookTooLong:
        taken, wrong = False, f"it took more than {SECONDS} s"
    except Exception as error:
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        taken, wrong = False, f"{type(error).__name__} at {where}: {str(error)[:100]}"
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // unit
    return taken, wrong or (f"it used {more} MB" if more > MEMORY else "")


def _unfit(message: str) -> str:
    """Returns what is wrong with a message for users, or ""."""
    if not message or "\n" in message or len(message) > 700:
        return f"a message of {len(message)} characters: {message[:200]!r}"
    return ""


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def stop(*_):
        raise TookTooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
