"""Reads the memory traffic of a compiled program's kernels from its text."""

from __future__ import annotations

import re
from typing import NamedTuple

from maed_jax.bench.collectives import array_bytes

_LINE = re.compile(
    r"\s*(?:ROOT )?%(?P<name>[\w.-]+) = (?P<shape>\(.*?\)|\S+) (?P<operation>[\w-]+)"
    r"\((?P<operands>.*?)\)(?:,|$)"
)
_SCRATCH = re.compile(r", [su]8\[\d*\](?:\{0\})?\)$")  # a library's, after its results
_NO_WORK = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


class Kernel(NamedTuple):
    """An instruction of the program's entry computation that is a kernel or a library call."""

    name: str
    """XLA's name without its number; for a library call its target"""
    bytes: int
    """of its operands and results, each once"""
    result: str
    """shape"""
    origin: str
    """XLA's op_name, "" if there is none"""


def kernels(text: str) -> list[Kernel]:
    """Returns the kernels in the text of a compiled program (`compiled.as_text()`), in order.

    The contents of loops and branches are left out: only their operands and results count. An
    operand counts as a whole even if a kernel reads only part of it; a library's scratch does not
    count.
    """
    entry = re.split(r"^ENTRY ", text, flags=re.MULTILINE)[-1]
    shapes, found = {}, []
    for line in entry.splitlines():
        if not (match := _LINE.match(line)):
            continue
        shapes[match["name"]] = match["shape"]
        if match["operation"] in _NO_WORK:
            continue
        target = re.search(r'custom_call_target="([^"]*)"', line)
        results = _SCRATCH.sub(")", match["shape"]) if target else match["shape"]
        operands = re.findall(r"%([\w.-]+)", match["operands"])
        moved = sum(sum(array_bytes(s)) for s in (results, *(shapes.get(o, "") for o in operands)))
        origin = re.search(r'op_name="([^"]*)"', line)
        name = target[1] if target else re.sub(r"[.\d]+$", "", match["name"])
        found.append(Kernel(name, int(moved), match["shape"], origin[1] if origin else ""))
    return found
