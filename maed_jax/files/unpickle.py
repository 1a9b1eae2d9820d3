"""Reads pickles without trusting them: an allow-list of exact names, and inert stand-ins behind it.

A pickle is a program that may call any function it can name. Here it can name only what a reader
lists, and what it gets for a name is one of our own stand-ins, never NumPy's, SciPy's or chumpy's
own constructor: a stand-in checks and keeps what the pickle says, and arrays are made from that
afterwards. Nothing is imported on a pickle's word.

Nor can a small pickle take much memory or time: what it reads, its instructions, copies of what it
holds, and the sizes of lists within lists are counted, and dicts have plain keys.
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

INSTRUCTIONS = 1 << 25  # of one pickle; each makes an object of some tens of bytes at most
CLASSES = 1000  # names that a pickle may use of a package that is listed as a whole
ENTRY = 100  # bytes of a dict's entry, which an item of a list may become


class _Source:
    """A file as a pickle reads it: the bytes are counted, and none are allocated on its word."""

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
    """Instructions by their code, of which no more than a number can be looked up."""

    left = INSTRUCTIONS

    def __getitem__(self, code: int) -> Callable:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError("it has far more instructions than arrays need")
        return super().__getitem__(code)


class _Unpickler(pickle._Unpickler):
    # Python's own pickle in Python, because the one in C does not let its instructions be replaced.
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
        """What is left after what was copied so far, by the bytes that were read so far."""
        budget = Budget.plain(self.source.count)
        budget.spend(self._spent)
        return budget

    def _spend(self, parts: Any) -> None:
        """Counts what a function or object is given, which it may copy as often as it is given."""
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
        wanted = f"{module}.{name}"
        wanted = wanted if wanted.isprintable() and len(wanted) < 100 else ascii(wanted[:100])
        raise UserError(
            f"{self._what} asks to construct {wanted}, which a {self._kind} never needs; it was "
            "not opened"
        )

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent_load is None:
            raise pickle.UnpicklingError("it refers to things outside itself")
        return self._persistent_load(pid)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("it names classes by number")

    def load_build(self) -> None:
        """BUILD would set attributes of anything, classes and functions included: not here."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(state, tuple):
            self._spend(state)
        elif not isinstance(state, dict):  # what no library gives would not be counted
            raise pickle.UnpicklingError(f"it gives a state that is a {type(state).__name__}")
        if isinstance(target, StandIn):
            target.build(state)
        elif not isinstance(target, collections.OrderedDict):  # whose notes are left out
            raise pickle.UnpicklingError(f"it sets attributes of a {type(target).__name__}")

    def _instantiate(self, klass: Any, args: list[Any]) -> None:
        """OBJ and INST call what they name, as REDUCE does."""
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

    # What follows the last mark is on the stack alone: keys and values in turn, or items of a set.

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
    """Reads one pickle that may name only what `resolve` lists.

    Args:
      file: open for reading bytes; it is left at the pickle's end.
      resolve: (module, name) -> what the pickle gets for it: a function that checks its arguments,
        a subclass of `StandIn`, or any inert object. (package, "*") -> a function of module and
        name that gives such a thing for every name in the package.
      what: the file's name, for messages.
      persistent_load: answers the pickle's references to things outside itself.
      kind: what the file should have been, for messages.
      replace: put values in place of stand-ins; otherwise that is left to `Replacing`.

    Returns:
      The object, with stand-ins replaced by their values inside dicts, lists and tuples.

    Raises:
      UserError: the pickle names anything else, is broken, or would take far more memory or time
        than its size allows.
    """
    try:
        unpickler = _Unpickler(file, resolve, what, kind, persistent_load)
        content = unpickler.load()
        return Replacing(unpickler.budget())(content) if replace else content
    except UserError:
        raise
    except Exception as error:  # a broken pickle can raise nearly anything
        why = reason(error)
        if not why.startswith("it "):
            why = f"it is damaged, or not a pickle ({why})"
        raise UserError(f"{what} cannot be read as a {kind}: {why}") from None


def restricted_load(path: str | Path, kind: str = "body file") -> Any:
    """Reads the pickle at `path`: NumPy and SciPy arrays, chumpy and plain containers.

    Raises:
      UserError: the file is missing, broken, or names anything else.
    """
    tables = (PYTHON_GLOBALS, NUMPY_GLOBALS, SCIPY_GLOBALS, CHUMPY_GLOBALS)
    resolve = {name: found for table in tables for name, found in table.items()}
    try:
        with open(path, "rb") as file:
            return restricted_loads(file, resolve, str(path), kind=kind)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {reason(error)}") from None


class Replacing:
    """Puts their values in place of stand-ins; things may be shared or hold each other.

    Lists in lists must come to an end, and not to a number of items that only sharing makes
    possible: NumPy would make an array of them.
    """

    def __init__(self, budget: Budget):
        """budget: for memory that is not the pickle's own bytes."""
        self.spend = budget.spend
        self._room = budget.left
        # id -> item and result; the item is kept lest its identity be given to something new.
        self._seen: dict[int, tuple[Any, Any]] = {}
        # id of a list or tuple -> its items, lists in it counted item by item; its longest text
        self._sizes: dict[int, tuple[int, int]] = {}

    def __call__(self, item: Any) -> Any:
        """Raises: ValueError: it would take too much."""
        if isinstance(item, str | bytes | int | float | None):
            return item
        if id(item) in self._seen:
            return self._seen[id(item)][1]
        result = item
        self._seen[id(item)] = item, result
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
        self._seen[id(item)] = item, result
        return result

    def _size(self, pairs: list[tuple[Any, Any]]) -> tuple[int, int]:
        """Of a list whose items are given before and after their replacement."""
        count, longest = 0, 0
        for before, after in pairs:
            holder = before if type(before) in (list, tuple) else after  # an array of objects
            if type(holder) in (list, tuple):
                if id(holder) not in self._sizes:
                    raise ValueError("it holds a list that holds itself")
                inner, length = self._sizes[id(holder)]
            elif isinstance(after, np.ndarray):
                inner, length = after.size, 0
            else:
                inner, length = 1, len(after) if isinstance(after, str | bytes) else 0
            count, longest = count + inner, max(longest, length)
        if count * max(8, 4 * longest) > self._room:
            raise ValueError("it holds lists of more items than its size allows")
        return count, longest
