"""Parsing of command-line arguments, with one-line errors that suggest the nearest valid word."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from maed_jax.errors import UserError, suggest

CHECKPOINT_HELP = "work directory of maed train or maed convert"
BODY_HELP = "body model, instead of the checkpoint's: a path, or mannequin"
RESULTS_BODY_HELP = "body model, if that of the results is not available"
SEEDS = 1 << 32  # number of seeds: JAX reduces larger ones modulo this


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are `UserError`s, without usage text.

    Option names may be written with hyphens instead of underscores: `--data-dir` is `--data_dir`.
    """

    def parse_args(self, args: Sequence[str] | None = None, namespace=None):
        """Parses all arguments.

        Raises:
          UserError: an argument is unknown, missing or invalid.
        """
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            word = next((word for word in rest if word.startswith("-")), rest[0]).partition("=")[0]
            self._refuse(word)
        return found

    def parse_known_args(self, args: Sequence[str] | None = None, namespace=None):
        """Parses the known arguments, and also returns the rest.

        Raises:
          UserError: an argument is missing or invalid.
        """
        args = sys.argv[1:] if args is None else list(args)
        end = args.index("--") if "--" in args else len(args)
        args[:end] = map(self._underscored, args[:end])
        try:
            return super().parse_known_args(args, namespace)
        except UserError as error:
            if "are required" in str(error):  # one may just be misspelt
                known = self._option_string_actions
                for word in (word.partition("=")[0] for word in args):
                    dotted = "." in word  # a setting of the configuration
                    if word.startswith("--") and word not in known and not dotted:
                        self._refuse(word)
            raise

    def _underscored(self, word: str) -> str:
        """Returns an option with underscores for hyphens; any other word unchanged."""
        name, equals, value = word.partition("=")
        name = f"--{name[2:].replace('-', '_')}"
        known = any(option.startswith(name) for option in self._option_string_actions)
        return name + equals + value if word.startswith("--") and known else word

    def _refuse(self, word: str) -> NoReturn:
        hint = suggest(word, self._option_string_actions, otherwise="")
        self.error(f"there is no argument {word!r}" + (f"; {hint}" if hint else ""))

    def error(self, message: str):
        end = " " if message.endswith("?") else "; "
        raise UserError(f"{message}{end}{self.prog} --help lists all arguments")


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Returns the `type` of an argument that must be above 0; kind: `int` or `float`."""

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
    """The `type` of an argument that must be a whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least 0, not {text!r}")
    return value


def seed(text: str) -> int:
    """The `type` of an argument that is a seed."""
    value = from_zero(text)
    if value >= SEEDS:
        raise argparse.ArgumentTypeError(f"needs a whole number below 2^32, not {text!r}")
    return value


def add_step(parser: argparse.ArgumentParser) -> None:
    """Adds `--step`, which selects a checkpoint of a work directory."""

    def read(text: str) -> int | str:
        if text != "best" and not text.isdecimal():
            raise argparse.ArgumentTypeError(f"needs a step number, or best, not {text!r}")
        return text if text == "best" else int(text)

    parser.add_argument(
        "--step",
        type=read,
        metavar="N",
        help="checkpoint step, or `best` for the one with the best validation (default: latest)",
    )


def read_settings(arguments: Sequence[str], section: str) -> Iterator[tuple[str, str | None]]:
    """Yields name and value of each setting, given as `--SECTION.NAME=VALUE` or with a space.

    The value is None if it is missing, that is, followed by another option (beginning with "--").

    Raises:
      UserError: an argument is not a setting of this section.
    """
    waiting, prefix = list(arguments), f"--{section}."
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if not name.startswith(prefix):
            raise UserError(
                f"there is no argument {name!r}; --help lists them, and {prefix}NAME=VALUE changes "
                "a setting"
            )
        if not equals:
            given = bool(waiting) and not waiting[0].startswith("--")
            value = waiting.pop(0) if given else None
        yield name.removeprefix(prefix), value
