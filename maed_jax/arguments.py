"""How commands read their arguments: a mistake is one line, and names the nearest right word."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence

from maed_jax.errors import UserError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose mistakes are `UserError`s, without the usage."""

    def parse_args(self, args: Sequence[str] | None = None, namespace=None):
        """Reads all arguments.

        Raises:
          UserError: one is unknown, missing or of the wrong kind.
        """
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            word = next((word for word in rest if word.startswith("-")), rest[0]).partition("=")[0]
            near = difflib.get_close_matches(word, self._option_string_actions, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            self.error(f"there is no argument {word!r}{hint}")
        return found

    def error(self, message: str):
        end = " " if message.endswith("?") else "; "
        raise UserError(f"{message}{end}{self.prog} --help explains all")


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """The `type` of an argument that is a number above 0; kind: `int` or `float`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            whole = "whole " if kind is int else ""
            raise argparse.ArgumentTypeError(f"needs a {whole}number above 0, not {text!r}")
        return value

    return read


def from_zero(text: str) -> int:
    """The `type` of an argument that is a whole number from 0 on, such as a seed."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"needs a whole number from 0 on, not {text!r}")
    return value


def add_step(parser: argparse.ArgumentParser) -> None:
    """Adds `--step`, which chooses a checkpoint of a work directory."""

    def read(text: str) -> int | str:
        if text != "best" and not text.isdecimal():
            raise argparse.ArgumentTypeError(f"needs the number of a step, or best, not {text!r}")
        return text if text == "best" else int(text)

    parser.add_argument(
        "--step",
        type=read,
        metavar="N",
        help="which checkpoint of it, or best: that of the best validation (default: the latest)",
    )
