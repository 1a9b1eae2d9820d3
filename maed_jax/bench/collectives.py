"""Reads what devices send each other in a step from the text of the compiled program."""

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
    """number of participating devices"""


def collectives(text: str, devices: int) -> list[Collective]:
    """Returns the collectives in the text of a compiled program (`compiled.as_text()`).

    A collective in a loop counts once; an asynchronous one counts at its start.
    """
    found = []
    for line in text.splitlines():
        if match := _LINE.match(line):
            kind, arrays = match["kind"], array_bytes(match["result"])
            if match["start"]:  # some forms list operands before results
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
    """Returns the bytes of an array, or of each in a tuple, from its shape in a program's text."""
    return [
        BYTES[dtype] * math.prod(int(n) for n in dimensions.split(",") if n)
        for dtype, dimensions in _SHAPE.findall(shape)
    ]


def _group(line: str, devices: int) -> int:
    """Returns the number of devices in a group, written as `{{0,1},{2,3}}`, `[2,2]<=[4]`, or by the
    axes of a mesh, `mesh['data'=2,'fsdp'=2] {'fsdp'}`."""
    if short := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(short[1])
    if named := re.search(r"replica_groups=mesh\[([^]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return len(listed[1].split(","))
    return devices


def sent(collective: Collective) -> float:
    """Returns the bytes that each device sends if the group forms a ring."""
    kind, payload, n = collective
    if kind == "collective-permute":
        return payload
    return (2 if kind == "all-reduce" else 1) * payload * (n - 1) / n


def totals(found: list[Collective]) -> dict[str, dict[str, float]]:
    """Returns for each kind the number, the total payload, and the bytes each device sends."""
    return {
        kind: {
            "number": len(own),
            "payload": sum(c.payload for c in own),
            "sent": sum(map(sent, own)),
        }
        for kind in KINDS
        if (own := [c for c in found if c.kind == kind and c.group > 1])
    }
