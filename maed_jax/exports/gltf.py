"""The glTF 2.0 container: arrays in one binary buffer, everything else in JSON, both in a GLB.

Source: Khronos, glTF 2.0 specification, sections 3.6 (buffers) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

ARRAY, ELEMENTS = 34962, 34963  # targets of buffer views: vertices, indices
_COMPONENTS = {np.uint8: 5121, np.uint16: 5123, np.uint32: 5125, np.float32: 5126}
_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942


class Gltf:
    """A glTF asset under construction; `add` returns the index by which others refer to an item."""

    def __init__(self, generator: str):
        self.content: dict[str, Any] = {"asset": {"version": "2.0", "generator": generator}}
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, kind: str, thing: dict) -> int:
        """Appends to one of the top-level lists ("nodes", "meshes", ...)."""
        things = self.content.setdefault(kind, [])
        things.append(thing)
        return len(things) - 1

    def array(self, array: np.ndarray, *, target: int | None = None, bounds: bool = False) -> int:
        """Adds an accessor for `array` [n], [n 2..4] or [n 4 4] (row-major, as in NumPy).

        target: `ARRAY` or `ELEMENTS` for a mesh's data. bounds: include minimum and maximum.
        """
        array = np.ascontiguousarray(array)
        accessor = {
            "bufferView": self._view(array.swapaxes(1, 2) if array.ndim == 3 else array, target),
            "componentType": _COMPONENTS[array.dtype.type],
            "count": len(array),
            "type": _TYPES[array.shape[1:]],
        }
        if bounds:
            low, high = np.atleast_1d(array.min(axis=0)), np.atleast_1d(array.max(axis=0))
            accessor |= {"min": low.tolist(), "max": high.tolist()}
        return self.add("accessors", accessor)

    def _view(self, array: np.ndarray, target: int | None) -> int:
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        data += b"\0" * (-len(data) % 4)
        self._parts.append(data)
        self._length += len(data)
        return self.add("bufferViews", view)

    def write(self, path: str | Path) -> None:
        """Writes a GLB."""
        content = self.content | {"buffers": [{"byteLength": self._length}]}
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        with open(path, "wb") as file:
            total = 12 + 8 + len(text) + 8 + self._length
            file.write(struct.pack("<III", _MAGIC, 2, total))
            file.write(struct.pack("<II", len(text), _JSON) + text)
            file.write(struct.pack("<II", self._length, _BIN))
            file.writelines(self._parts)
