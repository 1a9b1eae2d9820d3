"""The error class for messages that users are meant to read, and helpers for their wording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LONGEST_MESSAGE = 600  # characters of a message


class UserError(Exception):
    """A mistake or a missing thing on the user's side: one sentence that says what to do.

    The command line prints it without a traceback and exits with status 1. The message is kept to
    one readable line, whatever file contents it quotes.
    """

    def __init__(self, message: object):
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(message))
        if len(text) > LONGEST_MESSAGE:
            text = f"{text[: LONGEST_MESSAGE * 2 // 3]} ... {text[-LONGEST_MESSAGE // 3 :]}"
        super().__init__(text)


def reason(error: BaseException) -> str:
    """Returns the first line of an error's message, for use as part of a sentence."""
    said = getattr(error, "strerror", None)  # of an OSError, without its number and path
    text = said.lower() if said else next(iter(str(error).strip().splitlines()), "")
    text = text or type(error).__name__
    return f"{text[:150]}..." if len(text) > 150 else text


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Returns the one of the `known` words most similar to `word`, in a list; empty if none is."""
    import difflib  # rarely needed

    return difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)


def suggest(
    word: str,
    known: Iterable[str],
    *,
    near: Sequence[str] | None = None,
    otherwise: str | None = None,
) -> str:
    """Returns a hint about a wrong word: the `known` word that may be meant, or all of them.

    Args:
      near: words that may be meant, the likeliest first, if `nearest` is not enough.
      otherwise: what to return instead of all words.
    """
    near = nearest(word, known) if near is None else near
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from {', '.join(known)}" if otherwise is None else otherwise
