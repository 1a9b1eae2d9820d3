"""The content of a motion capture file, and a reader that reports the line of an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from maed_jax.errors import UserError, reason


@dataclasses.dataclass(frozen=True)
class Recording:
    """A skeleton in motion, in the file's own axes and unit of length."""

    path: Path
    names: tuple[str, ...]
    parents: tuple[int, ...]
    """-1 for the root, which comes first; parents come before their children"""
    rest: np.ndarray
    """[joints 3] positions of the joints at rest, the root at the origin"""
    R_world_joint: np.ndarray
    """[frames joints 3 3] rotations from rest"""
    t_world_root: np.ndarray
    """[frames 3]"""
    fps: float

    def positions(self, frame: int) -> np.ndarray:
        """Returns the joints' positions in one frame, relative to the root: [joints 3]."""
        out = np.zeros_like(self.rest)
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                bone = self.rest[joint] - self.rest[parent]
                out[joint] = out[parent] + self.R_world_joint[frame, parent] @ bone
        return out


def read_lines(path: Path) -> list[str]:
    """Returns all lines of a text file.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None


class Reader:
    """Steps through the lines of a file; errors contain the line number."""

    def __init__(self, path: Path, lines: list[str], at: int = 0):
        self.path, self.lines, self.at = path, lines, at

    def fail(self, what: str) -> UserError:
        return UserError(f"{self.path}, line {min(self.at, len(self.lines))}: {what}")

    def words(self) -> list[str]:
        """Returns the words of the next line that is not empty or a comment."""
        while self.at < len(self.lines):
            words = self.lines[self.at].split()
            self.at += 1
            if words and not words[0].startswith("#"):
                return words
        raise self.fail("the file ends too early")

    def peek(self) -> list[str]:
        at = self.at
        try:
            return self.words()
        except UserError:
            return []
        finally:
            self.at = at

    def expect(self, *keywords: str) -> list[str]:
        words = self.words()
        if [w.upper() for w in words[: len(keywords)]] != [w.upper() for w in keywords]:
            raise self.fail(f"expected {' '.join(keywords)!r}, found {' '.join(words[:6])!r}")
        return words[len(keywords) :]

    def numbers(self, words: list[str], count: int | None = None) -> list[float]:
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise self.fail(f"expected numbers, found {' '.join(words[:6])!r}") from None
        if count is not None and len(values) != count:
            raise self.fail(f"expected {count} numbers, found {len(values)}")
        if not all(abs(value) < 1e9 for value in values):
            raise self.fail("a number is infinite, not a number, or far too large")
        return values

    def motion_header(self) -> tuple[int, float]:
        (frames,) = self.numbers(self.expect("Frames:"), 1)
        (seconds,) = self.numbers(self.expect("Frame", "Time:"), 1)
        if frames < 1 or frames != int(frames) or not 1e-5 <= seconds <= 1:
            raise self.fail("there must be at least one frame, and a frame time of 1e-5 to 1 s")
        return int(frames), 1 / seconds
