"""Inert stand-ins for the classes and functions that a pickle names.

The tables at the end list the names that body files and checkpoints need; the reader,
`maed_jax.files.unpickle`, refuses any other.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class StandIn:
    """Takes the place of an object in a pickle; stores its state and does nothing with it.

    After loading, `value` replaces it wherever it occurs in a dict, list or tuple.
    """

    origin = ""
    """the class that the pickle named"""

    state: Any = None
    """the state that the pickle gave it"""

    def build(self, state: Any) -> None:
        """Accepts the state that the pickle gives the object."""
        self.state = state

    def value(self, replace: Callable[[Any], Any]) -> Any:
        """Returns the final value; `replace` returns that of anything in the state.

        Memory beyond the pickle's own bytes must be claimed with `replace.spend`.
        """
        return self


class _Class(StandIn):
    """Stands for `object` and `numpy.ndarray`, which pickles only pass as arguments."""


# --- NumPy ----------------------------------------------------------------------------------------


class _DType(StandIn):
    """`numpy.dtype` of numbers, fixed-size text or objects; no other becomes a dtype."""

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
        order, *structure = state[1:5]  # state[0] is the version; only records have a structure
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if order not in ("<", ">", "=", "|") or any(part is not None for part in structure):
            raise TypeError("it holds an array of records")
        self.state = self.state[0], order

    def value(self, replace) -> np.dtype:
        code, order = self.state
        return np.dtype(code if order == "|" else order + code)


class _Array(StandIn):
    """`numpy.ndarray`, whose state is (version, shape, dtype, is_fortran_order, data)."""

    def build(self, state):
        if not isinstance(state, tuple):  # the reader counts a tuple's parts
            raise TypeError("it holds an array without its state")
        self.state = state

    def value(self, replace) -> np.ndarray | np.generic | list:
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _DType):
            raise TypeError("it holds an array without a type")
        if dtype.state[0].startswith("O"):
            # A list of inert values: files have such entries, mostly unused.
            if not isinstance(data, list):
                raise TypeError("it holds an array of objects without its objects")
            return replace(data)
        data = data.encode("latin1") if isinstance(data, str) else data  # str: from Python 2
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
    """A sparse matrix; SciPy rebuilds it from its arrays and checks it."""

    def value(self, replace):
        import scipy.sparse

        state = self.state
        data, shape = replace(state["data"]), tuple(int(n) for n in replace(state["_shape"]))
        if not isinstance(data, np.ndarray) or data.dtype.kind not in "biuf":
            raise TypeError("it holds a sparse matrix without its numbers")
        if self.origin == "coo":
            indices = state["coords"] if "coords" in state else (state["row"], state["col"])
        else:
            indices = state["indices"], state["indptr"]
        indices = tuple(replace(array) for array in indices)
        # SciPy may copy all of them, the indices as wider integers.
        replace.spend(data.nbytes + sum(8 * np.size(array) for array in indices))
        if self.origin == "coo":
            return scipy.sparse.coo_matrix((data, indices), shape=shape)
        build = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[self.origin]
        matrix = build((data, *indices), shape=shape)
        matrix.check_format(full_check=True)
        return matrix


class ChumpyNode(StandIn):
    """A variable or an expression of chumpy, the library that SMPL was made with."""

    def value(self, replace):
        """Returns the array for the two kinds that model files use, otherwise the stand-in."""
        state = self.state if isinstance(self.state, dict) else {}
        if self.origin.endswith(".Ch") and "x" in state:
            return replace(state["x"])
        if self.origin.endswith(".Select") and {"a", "idxs"} <= set(state):
            source, index = replace(state["a"]), replace(state["idxs"])
            if isinstance(source, np.ndarray) and isinstance(index, np.ndarray):
                replace.spend(source.nbytes + index.size * source.itemsize)
                picked = source.ravel()[index]
                return picked.reshape(state.get("preferred_shape", picked.shape))
        return self


# --- Plain Python ---------------------------------------------------------------------------------


def _encode(text, encoding="latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("it holds text in an encoding other than Latin-1")
    return text.encode("latin1")


def _ordered_dict(items=()) -> collections.OrderedDict:
    check_keys(key for key, _ in items)
    return collections.OrderedDict(items)


def _empty_bytes() -> bytes:
    return b""


def _reconstruct_object(cls, base, state) -> StandIn:
    listed = isinstance(cls, type) and issubclass(cls, StandIn)
    if not listed or base is not _Class or state is not None:
        raise TypeError("it holds an object of a class that is not listed")
    return cls()


def check_keys(keys: Iterable[Any]) -> None:
    """Checks that keys are text, numbers below 2^60 or flat tuples of them.

    Hashing deeply nested tuples would crash the process, and a dict of large numbers chosen to
    collide would take forever.

    Raises:
      UnpicklingError: a key is something else.
    """
    for key in keys:
        for part in key if type(key) is tuple else (key,):
            plain = part is None or isinstance(part, str | bytes | int | float | StandIn)
            if not plain or (isinstance(part, int) and abs(part) >= 1 << 60):
                raise pickle.UnpicklingError("it holds a dict whose keys are not names")


# --- The allow-lists: (module, name) -> what the pickle gets for it -------------------------------


def _named(base: type[StandIn], origin: str) -> type[StandIn]:
    return type(base.__name__, (base,), {"origin": origin})


PYTHON_GLOBALS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _ordered_dict,
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
