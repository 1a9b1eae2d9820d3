"""Reads pickles without trusting them: an allow-list of exact names, and inert stand-ins behind it.

A pickle is a program that may call any function it can name. Here it can name only what a reader
lists, and what it gets for a name is one of our own stand-ins, never NumPy's, SciPy's or chumpy's
own constructor: a stand-in checks and keeps what the pickle says, and arrays are made from that
afterwards. Nothing is imported on a pickle's word. (A file can still be larger than memory.)
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maed_jax.errors import UserError


class StandIn:
    """What a pickle gets instead of an object: it keeps the state and does nothing with it.

    After loading, `value` is put in its place wherever it stands in a dict, list or tuple.
    """

    origin = ""
    """the class that the pickle named"""

    state: Any = None
    """what the pickle gave it"""

    def build(self, state: Any) -> None:
        """Takes the state that the pickle gives the object."""
        self.state = state

    def value(self, replace: Callable[[Any], Any]) -> Any:
        """What stands here in the end; `replace` does the same for things in the state."""
        return self


class _Class(StandIn):
    """Stands for `object` and `numpy.ndarray` where a pickle only passes them on."""


# --- NumPy ----------------------------------------------------------------------------------------


class _DType(StandIn):
    """`numpy.dtype`: only numbers and fixed-size text come to life; objects are told apart."""

    def __init__(self, code, align=False, copy=True):
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if (
            not isinstance(code, str)
            or code[:1] not in tuple("biufcSUO")
            or not code[1:].isdecimal()
        ):
            raise TypeError(f"it holds an array of type {code!r}")
        self.state = code, "="

    def build(self, state):
        order, *structure = state[1:5]  # after the version; then what only records have
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if order not in ("<", ">", "=", "|") or any(part is not None for part in structure):
            raise TypeError("it holds an array of records")
        self.state = self.state[0], order

    def value(self, replace) -> np.dtype:
        code, order = self.state
        return np.dtype(code if order == "|" else order + code)


class _Array(StandIn):
    """`numpy.ndarray`, whose state is (version, shape, dtype, is in Fortran order, data)."""

    def value(self, replace) -> np.ndarray | np.generic | list:
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _DType):
            raise TypeError("it holds an array without a type")
        if dtype.state[0].startswith("O"):
            # A list of inert things: an unused entry of a file does no harm.
            if not isinstance(data, list):
                raise TypeError("it holds an array of objects without its objects")
            return replace(data)
        data = data.encode("latin1") if isinstance(data, str) else data  # by Python 2
        if not isinstance(data, bytes | bytearray):
            raise TypeError("it holds an array without its bytes")
        values = np.frombuffer(bytes(data), dtype.value(replace))
        return values.reshape(shape, order="F" if fortran else "C").copy(order="C")


class _Scalar(_Array):
    def value(self, replace) -> np.generic:
        return super().value(replace)[()]


def _reconstruct_array(cls, shape, code) -> _Array:
    if cls is not _Class:
        raise TypeError("it holds a subclass of array")
    return _Array()


def _array(data, dtype, shape, order) -> _Array:
    array = _Array()
    array.build((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype, data) -> _Scalar:
    scalar = _Scalar()
    scalar.build((1, (), dtype, False, data))
    return scalar


# --- SciPy and chumpy -----------------------------------------------------------------------------


class _Sparse(StandIn):
    """A sparse matrix, rebuilt and checked by SciPy from its arrays."""

    def value(self, replace):
        import scipy.sparse

        state = replace(dict(self.state))
        shape = tuple(int(n) for n in state["_shape"])
        if self.origin == "coo":
            place = state["coords"] if "coords" in state else (state["row"], state["col"])
            return scipy.sparse.coo_matrix((state["data"], place), shape=shape)
        build = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[self.origin]
        matrix = build((state["data"], state["indices"], state["indptr"]), shape=shape)
        matrix.check_format(full_check=True)
        return matrix


class ChumpyNode(StandIn):
    """A variable or an expression of chumpy, the library that SMPL was made with."""

    def value(self, replace):
        """The array, for the two kinds that model files use; any other stays as it is."""
        state = self.state if isinstance(self.state, dict) else {}
        if self.origin.endswith(".Ch") and "x" in state:
            return replace(state["x"])
        if self.origin.endswith(".Select") and {"a", "idxs"} <= set(state):
            source, index = replace(state["a"]), replace(state["idxs"])
            if isinstance(source, np.ndarray) and isinstance(index, np.ndarray):
                picked = source.ravel()[index]
                return picked.reshape(state.get("preferred_shape", picked.shape))
        return self


# --- Plain Python ---------------------------------------------------------------------------------


def _encode(text, encoding="latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError(f"it holds text in the encoding {encoding!r}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _reconstruct_object(cls, base, state) -> StandIn:
    listed = isinstance(cls, type) and issubclass(cls, StandIn)
    if not listed or base is not _Class or state is not None:
        raise TypeError("it holds an object of a class that is not listed")
    return cls()


# --- The allow-lists: (module, name) -> what the pickle gets --------------------------------------


def _named(base: type[StandIn], origin: str) -> type[StandIn]:
    return type(base.__name__, (base,), {"origin": origin})


PYTHON_GLOBALS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "bytes"): _empty_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
    ("builtins", "object"): _Class,
    ("__builtin__", "object"): _Class,
    ("copyreg", "_reconstructor"): _reconstruct_object,
    ("copy_reg", "_reconstructor"): _reconstruct_object,
}
NUMPY_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Class,
    ("numpy", "dtype"): _DType,
}
for _core in ("numpy.core", "numpy._core"):
    NUMPY_GLOBALS[f"{_core}.multiarray", "_reconstruct"] = _reconstruct_array
    NUMPY_GLOBALS[f"{_core}.multiarray", "scalar"] = _scalar
    NUMPY_GLOBALS[f"{_core}.numeric", "_frombuffer"] = _array
SCIPY_GLOBALS: dict[tuple[str, str], Any] = {
    (f"scipy.sparse.{underscore}{kind}", f"{kind}_{suffix}"): _named(_Sparse, kind)
    for kind in ("csc", "csr", "coo")
    for underscore in ("", "_")
    for suffix in ("matrix", "array")
}
CHUMPY_GLOBALS: dict[tuple[str, str], Any] = {
    ("chumpy", "*"): lambda module, name: _named(ChumpyNode, f"{module}.{name}")
}


# --- Reading --------------------------------------------------------------------------------------


class _Unpickler(pickle._Unpickler):
    # Python's own pickle in Python, because the one in C does not let its instructions be replaced.
    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file, resolve, what, kind, persistent_load):
        super().__init__(file, encoding="latin1")
        self._resolve, self._what, self._kind = resolve, what, kind
        self._persistent_load = persistent_load

    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if (module, name) in self._resolve:
            return self._resolve[module, name]
        if (package, "*") in self._resolve:
            return self._resolve[package, "*"](module, name)
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
        if isinstance(target, StandIn):
            target.build(state)
        elif not isinstance(target, collections.OrderedDict):  # whose notes are left out
            raise pickle.UnpicklingError(f"it sets attributes of a {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build


def restricted_loads(
    file: BinaryIO,
    resolve: Mapping[tuple[str, str], Any],
    what: str,
    persistent_load: Callable[[Any], Any] | None = None,
    *,
    kind: str = "file of this kind",
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

    Returns:
      The object, with stand-ins replaced by their values inside dicts, lists and tuples.

    Raises:
      UserError: the pickle names anything else, or is broken.
    """
    try:
        return _replace(_Unpickler(file, resolve, what, kind, persistent_load).load(), {})
    except UserError:
        raise
    except Exception as error:  # a broken pickle can raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not reason.startswith("it "):
            reason = f"it is damaged, or not a pickle ({reason})"
        raise UserError(f"{what} cannot be read as a {kind}: {reason}") from None


def restricted_load(
    path: str | Path, allowed: Mapping[tuple[str, str], Any] | None = None, kind: str = "body file"
) -> Any:
    """Reads the pickle at `path`: NumPy and SciPy arrays, chumpy, plain containers, and `allowed`.

    Raises:
      UserError: the file is missing, broken, or names anything else.
    """
    tables = (PYTHON_GLOBALS, NUMPY_GLOBALS, SCIPY_GLOBALS, CHUMPY_GLOBALS, allowed or {})
    resolve = {name: found for table in tables for name, found in table.items()}
    try:
        with open(path, "rb") as file:
            return restricted_loads(file, resolve, str(path), kind=kind)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}") from None


def _replace(item: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    """`item` with stand-ins replaced by their values; things may be shared or hold each other."""
    if id(item) in seen:
        return seen[id(item)][1]
    result = item
    # The item is kept beside its result, lest its identity be given to something new.
    seen[id(item)] = item, result
    if isinstance(item, StandIn):
        result = item.value(lambda inner: _replace(inner, seen))
    elif isinstance(item, dict):
        for key, value in list(item.items()):
            item[key] = _replace(value, seen)
    elif isinstance(item, list):
        item[:] = [_replace(value, seen) for value in item]
    elif type(item) is tuple:
        result = tuple(_replace(value, seen) for value in item)
    seen[id(item)] = item, result
    return result
