"""Writes and reads JSON files, and checks that they have the structure that a reader relies on."""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

from maed_jax.files.atomic import atomic_write

COUNT = 1 << 31  # whole numbers in our files are below this


def write_json(path: str | Path, content: Any) -> None:
    """Writes a JSON file atomically. Numbers that are not finite become null: JSON has no NaN.

    Raises:
      UserError: it cannot be written.
    """
    with atomic_write(path, "w") as file:
        file.write(json_text(content))


def json_text(content: Any, *, short_lists: bool = False) -> str:
    """Returns indented JSON with null for numbers that are not finite.

    Args:
      short_lists: write each list of whole numbers on one line.
    """
    text = json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"
    if short_lists:
        # Strings are matched too, so that nothing inside them is mistaken for a list.
        parts = re.compile(r'("(?:\\.|[^"\\])*")|\[[\d,\s]+\]')
        text = parts.sub(lambda match: match[1] or "".join(match[0].split()), text)
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: str | Path, form: Any = object, **options) -> Any:
    """Returns the content of a JSON file; `options` are passed to `json.loads`.

    Args:
      form: the required structure, see `check_form`.

    Raises:
      OSError: it cannot be read. ValueError: it is not JSON, or has another structure.
    """
    return parse_json(Path(path).read_bytes(), form, **options)


def read_json_lines(path: str | Path, form: Any) -> list[Any]:
    """Returns those lines of a JSON Lines file that have the structure `form`.

    Others are skipped, such as one that was cut off when its writer was killed.

    Raises:
      OSError: it cannot be read.
    """
    found = []
    for line in Path(path).read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            found.append(parse_json(line, form))
    return found


def parse_json(text: str | bytes, form: Any = object, **options) -> Any:
    """Like `read_json`, but takes text."""
    try:
        content = json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check_form(content, form)
    return content


def check_form(content: Any, form: Any, where: str = "it") -> None:
    """Checks that `content` has a given structure.

    Args:
      form: `str`, `bool`, `dict`, `list`, `int` (0 or more), `float` (finite; may be whole) or
        `object` (anything); (form, None) for one that may be null; [form] for a list of any length
        and [form, form] for a list of two; {name: form} for an object with these entries and
        possibly others, where a name ending in "?" is optional.
      where: what to call `content` in messages.

    Raises:
      ValueError: it does not; the message says what is wrong and where.
    """
    if isinstance(form, tuple):
        if content is not None:
            check_form(content, form[0], where)
    elif isinstance(form, list):
        check_form(content, list, where)
        if len(form) > 1 and len(content) != len(form):
            raise ValueError(f"{where} has {len(content)} entries, not {len(form)}")
        for number, item in enumerate(content):
            check_form(item, form[0], f"{where}[{number}]")
    elif isinstance(form, dict):
        check_form(content, dict, where)
        for key, inner in form.items():
            name = key.removesuffix("?")
            if name in content:
                check_form(content[name], inner, name if where == "it" else f"{where}.{name}")
            elif name == key:
                raise ValueError(f"{where} lacks {name!r}")
    elif not _fits(content, form):
        raise ValueError(f"{where} is not {_KINDS[form]}")


_KINDS = {
    str: "text", bool: "true or false", dict: "an object", list: "a list",
    int: "a whole number from 0", float: "a finite number",
}  # fmt: skip


def _fits(value: Any, kind: type) -> bool:
    if kind in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is int:
            return number and isinstance(value, int) and 0 <= value < COUNT
        return number and abs(value) < 1e300 and math.isfinite(value)
    return isinstance(value, kind)
