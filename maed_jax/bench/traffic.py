"""What the kernels of a compiled program read and write, from its text."""

from __future__ import annotations

import re
from typing import NamedTuple

from maed_jax.bench.collectives import array_bytes

_LINE = re.compile(
    r"\s*(?:ROOT )?%(?P<name>[\w.-]+) = (?P<shape>\(.*?\)|\S+) (?P<operation>[\w-]+)"
    r"\((?P<operands>.*?)\)(?:,|$)"
)
_SCRATCH = re.compile(r", [su]8\[\d*\](?:\{0\})?\)$")  # of a library, behind its results
_NO_WORK = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


class Kernel(NamedTuple):
    """An instruction of the program's entry that is a kernel, or a call of a library."""

    name: str
    """as XLA's, without its number; of a library's the target of the call"""
    bytes: int
    """of its operands and results, each once"""
    result: str
    """shape"""
    origin: str
    """where the program asked for it, "" where XLA does not say"""


def kernels(text: str) -> list[Kernel]:
    """The kernels in the text of a compiled program (`compiled.as_text()`), in its order.

    What stands in loops and branches is left out: these count as what they pass on. An operand
    counts as a whole, also where a kernel reads a part of it; a library's scratch does not count.
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
