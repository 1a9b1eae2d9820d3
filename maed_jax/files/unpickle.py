"""Reads untrusted pickles: an allow-list of exact names, with inert stand-ins behind it.

A pickle is a program that may call any function it can name. Here it can name only what a reader
lists, and for each name it gets one of our own stand-ins, never a constructor of NumPy, SciPy or
chumpy: a stand-in checks and stores what the pickle says, and arrays are made from that afterwards.
Nothing is imported at a pickle's request.

Nor can a small pickle take much memory or time: the bytes it reads, its instructions, copies of its
content, and the sizes of nested lists are counted, and dicts have plain keys.
"""

from __future__ import annotations

import collections
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.bounds import Budget, read_exactly
from maed_jax.files.stand_ins import (
    CHUMPY_GLOBALS,
    NUMPY_GLOBALS,
    PYTHON_GLOBALS,
    SCIPY_GLOBALS,
    StandIn,
    check_keys,
)

INSTRUCTIONS = 1 << 25  # limit for one pickle; each makes an object of some tens of bytes at most
CLASSES = 1000  # limit on names that a pickle may use from packages that are listed as a whole
ENTRY = 100  # bytes of a dict entry, which a list item may become


class _Source:
    """A pickle's file: counts the bytes read, and allocates none on the strength of a claim."""

    def __init__(self, file: BinaryIO):
        self._file, self.count = file, 0

    def read(self, size: int) -> bytes:
        data = self._file.read(1) if size == 1 else bytes(read_exactly(self._file, size))
        self.count += len(data)
        return data

    def readline(self) -> bytes:
        data = self._file.readline()
        self.count += len(data)
        return data


class _Counted(dict):
    """The instructions by opcode; limits how often they can be looked up."""

    left = INSTRUCTIONS

    def __getitem__(self, code: int) -> Callable:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError("it has far more instructions than arrays need")
        return super().__getitem__(code)


class _Unpickler(pickle._Unpickler):
    # The implementation in Python, because the one in C does not let its instructions be replaced.
    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file, resolve, what, kind, persistent_load):
        self.source = _Source(file)
        super().__init__(self.source, encoding="latin1")
        self.dispatch = _Counted(self.dispatch)
        self._resolve, self._what, self._kind = resolve, what, kind
        self._persistent_load = persistent_load
        self._classes: dict[tuple[str, str], Any] = {}
        self._spent = 0

    def budget(self) -> Budget:
        """Returns the budget for the bytes read so far, less what was copied so far."""
        budget = Budget.plain(self.source.count)
        budget.spend(self._spent)
        return budget

    def _spend(self, parts: Any) -> None:
        """Counts the arguments of a call or state, which may be copied each time they are given."""
        for part in parts:
            if isinstance(part, str | bytes | bytearray):
                self._spent += len(part)
            elif isinstance(part, list | tuple | dict):
                self._spent += ENTRY * len(part)
        self.budget()

    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if (module, name) in self._resolve:
            return self._resolve[module, name]
        if (package, "*") in self._resolve:
            if (module, name) not in self._classes:
                self._classes[module, name] = self._resolve[package, "*"](module, name)
            if len(self._classes) > CLASSES:
                raise pickle.UnpicklingError(f"it names more than {CLASSES} classes of {package}")
            return self._classes[module, name]
        path = f"{module}.{name}"
        path = path if path.isprintable() and len(path) < 100 else ascii(path[:100])
        raise UserError(
            f"{self._what} asks to construct {path}, which a {self._kind} never needs; it was "
            "not opened"
        )

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent_load is None:
            raise pickle.UnpicklingError("it refers to objects outside itself")
        return self._persistent_load(pid)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("it names classes by number")

    def load_build(self) -> None:
        """BUILD: never sets attributes, which pickle does even for classes and functions."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(state, tuple):
            self._spend(state)
        elif not isinstance(state, dict):  # no library gives another type, and it is not counted
            raise pickle.UnpicklingError(f"it gives a state that is a {type(state).__name__}")
        if isinstance(target, StandIn):
            target.build(state)
        elif not isinstance(target, collections.OrderedDict):  # its attributes are ignored
            raise pickle.UnpicklingError(f"it sets attributes of a {type(target).__name__}")

    def _instantiate(self, klass: Any, args: list[Any]) -> None:
        """OBJ and INST: call what they name, like REDUCE."""
        self._spend(args)
        super()._instantiate(klass, args)

    def load_reduce(self) -> None:
        self._spend(self.stack[-1])
        super().load_reduce()

    def load_newobj(self) -> None:
        self._spend(self.stack[-1])
        super().load_newobj()

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def load_setitem(self) -> None:
        check_keys(self.stack[-2:-1])
        super().load_setitem()

    # Here the stack holds only what follows the last mark: alternating keys and values, or items.

    def load_setitems(self) -> None:
        check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        check_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        check_keys(self.stack)
        super().load_frozenset()

    for _code, _load in (
        (pickle.BUILD, load_build), (pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_newobj),
        (pickle.BYTEARRAY8, load_bytearray8), (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems), (pickle.DICT, load_dict),
        (pickle.ADDITEMS, load_additems), (pickle.FROZENSET, load_frozenset),
    ):  # fmt: skip
        dispatch[_code[0]] = _load


def restricted_loads(
    file: BinaryIO,
    resolve: Mapping[tuple[str, str], Any],
    what: str,
    persistent_load: Callable[[Any], Any] | None = None,
    *,
    kind: str = "file of this kind",
    replace: bool = True,
) -> Any:
    """Reads one pickle, which may name only what `resolve` lists.

    Args:
      file: open for reading in binary; left at the pickle's end.
      resolve: (module, name) -> what the pickle gets for it: a function that checks its arguments,
        a subclass of `StandIn`, or any inert object. (package, "*") -> a function of module and
        name that returns such a thing for any name in the package.
      what: the file's name, for messages.
      persistent_load: resolves the pickle's references to objects outside itself.
      kind: what the file should be, for messages.
      replace: replace stand-ins by their values; otherwise the caller does, with `Replacing`.

    Returns:
      The object, with stand-ins in dicts, lists and tuples replaced by their values.

    Raises:
      UserError: the pickle names anything else, is damaged, or would take far more memory or time
        than its size allows.
    """
    try:
        unpickler = _Unpickler(file, resolve, what, kind, persistent_load)
        content = unpickler.load()
        return Replacing(unpickler.budget())(content) if replace else content
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        why = reason(error)
        if isinstance(error, KeyError) and isinstance(error.args[0], int):
            why = f"unknown instruction {why}"
        if not why.startswith("it "):
            why = f"it is damaged, or not a pickle ({why})"
        raise UserError(f"{what} cannot be read as a {kind}: {why}") from None


def restricted_load(path: str | Path, kind: str = "body file") -> Any:
    """Reads the pickle at `path`, of NumPy and SciPy arrays, chumpy objects and plain containers.

    Raises:
      UserError: the file is missing, damaged, or names anything else.
    """
    tables = (PYTHON_GLOBALS, NUMPY_GLOBALS, SCIPY_GLOBALS, CHUMPY_GLOBALS)
    resolve = {name: found for table in tables for name, found in table.items()}
    try:
        with open(path, "rb") as file:
            return restricted_loads(file, resolve, str(path), kind=kind)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {reason(error)}") from None


class Replacing:
    """Replaces stand-ins by their values; objects may be shared or contain each other.

    Nested lists must not contain themselves, nor have a total number of items that only sharing
    makes possible: NumPy would make an array of them.
    """

    def __init__(self, budget: Budget):
        """
        Args:
          budget: for memory beyond the pickle's own bytes.
        """
        self.spend = budget.spend
        self._room = budget.left
        # id -> item and result; keeps the item alive so that its id is not reused.
        self._memo: dict[int, tuple[Any, Any]] = {}
        # id of a list or tuple -> its total number of items, nested ones included; its longest text
        self._sizes: dict[int, tuple[int, int]] = {}

    def __call__(self, item: Any) -> Any:
        """Returns the final value. Raises: ValueError: it would take too much memory."""
        if isinstance(item, str | bytes | int | float | None):
            return item
        if id(item) in self._memo:
            return self._memo[id(item)][1]
        result = item
        self._memo[id(item)] = item, result
        if isinstance(item, StandIn):
            result = item.value(self)
        elif isinstance(item, dict):
            for key, value in list(item.items()):
                item[key] = self(value)
        elif type(item) in (list, tuple):
            values = [self(value) for value in item]
            self._sizes[id(item)] = self._size([*zip(item, values)])
            if type(item) is list:
                item[:] = values
            else:
                result = tuple(values)
        self._memo[id(item)] = item, result
        return result

    def _size(self, pairs: list[tuple[Any, Any]]) -> tuple[int, int]:
        """Returns the `_sizes` of a list, given its items as (before, after) replacement."""
        count, longest = 0, 0
        for before, after in pairs:
            holder = before if type(before) in (list, tuple) else after  # for arrays of objects
            if type(holder) in (list, tuple):
                if id(holder) not in self._sizes:
                    raise ValueError("it holds a list that contains itself")
                inner, length = self._sizes[id(holder)]
            elif isinstance(after, np.ndarray):
                inner, length = after.size, 0
            else:
                inner, length = 1, len(after) if isinstance(after, str | bytes) else 0
            count, longest = count + inner, max(longest, length)
        if count * max(8, 4 * longest) > self._room:
            raise ValueError("it holds lists with more items than its size allows")
        return count, longest
