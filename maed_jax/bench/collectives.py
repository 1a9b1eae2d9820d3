"""What devices send each other in a step, read from the text of the compiled program."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4,
    "s64": 8, "u64": 8, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
    "token": 0, "opaque": 0,
}  # fmt: skip
_LINE = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\("
)
_SHAPE = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")


class Collective(NamedTuple):
    kind: str
    payload: int
    """bytes of the whole array that is reduced, gathered, scattered or moved, for one group"""
    group: int
    """devices that take part in it together"""


def collectives(text: str, devices: int) -> list[Collective]:
    """The collectives in the text of a compiled program (`compiled.as_text()`).

    What stands in a loop counts once. A part of an asynchronous one counts where it starts.
    """
    found = []
    for line in text.splitlines():
        if match := _LINE.match(line):
            kind, arrays = match["kind"], array_bytes(match["result"])
            if match["start"]:  # in some forms operands stand before results
                if kind == "collective-permute":  # and two small counters after them
                    arrays = arrays[1:2]
                elif kind == "all-gather" or match["result"].startswith("(("):
                    arrays = arrays[len(arrays) // 2 :]
            group = _group(line, devices)
            payload = sum(arrays)
            if kind == "reduce-scatter":
                payload *= group
            found.append(Collective(kind, int(payload), group))
    return found


def array_bytes(shape: str) -> list[float]:
    """The bytes of an array, or of each in a tuple, by its shape in a program's text."""
    return [
        BYTES[dtype] * math.prod(int(n) for n in dimensions.split(",") if n)
        for dtype, dimensions in _SHAPE.findall(shape)
    ]


def _group(line: str, devices: int) -> int:
    """How many devices make up a group: `{{0,1},{2,3}}`, in short `[2,2]<=[4]`, or by the axes of
    a mesh, `mesh['data'=2,'fsdp'=2] {'fsdp'}`."""
    if short := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(short[1])
    if named := re.search(r"replica_groups=mesh\[([^]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return len(listed[1].split(","))
    return devices


def sent(collective: Collective) -> float:
    """Bytes that each device sends when the group forms a ring."""
    kind, payload, n = collective
    if kind == "collective-permute":
        return payload
    return (2 if kind == "all-reduce" else 1) * payload * (n - 1) / n


def totals(found: list[Collective]) -> dict[str, dict[str, float]]:
    """For each kind how many there are, their payloads together, and what each device sends."""
    return {
        kind: {
            "number": len(own),
            "payload": sum(c.payload for c in own),
            "sent": sum(map(sent, own)),
        }
        for kind in KINDS
        if (own := [c for c in found if c.kind == kind and c.group > 1])
    }
