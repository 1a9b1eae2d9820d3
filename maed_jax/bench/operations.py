"""Operations that a function asks for, counted before XLA sees it: the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr


class Count(NamedTuple):
    """The matrix products and convolutions of a call; all else is left out."""

    operations: int
    """multiplications and additions; windows at the edge of a picture count whole"""
    bytes: int
    """what the products read and write if each operand and result passes through memory once"""

    def __add__(self, other: Count) -> Count:
        return Count(*map(sum, zip(self, other)))

    def __mul__(self, times: int) -> Count:
        return Count(*(times * value for value in self))


NOTHING = Count(0, 0)


def count(function: Callable, *arguments: Any) -> Count:
    """What a call of `function` asks for; shapes (`jax.ShapeDtypeStruct`) are enough.

    The body of a loop whose length the program decides as it runs counts once; of branches the
    dearest counts, of those for different devices that for all others, and what nobody asks for
    (such as a gradient by pixels) does not.
    """
    program = jax.make_jaxpr(function)(*arguments).jaxpr
    return _program(dce_jaxpr(program, [True] * len(program.outvars))[0])


def _program(jaxpr: core.Jaxpr) -> Count:
    return sum((_step(step) for step in jaxpr.eqns), NOTHING)


def _step(step: Any) -> Count:
    match step.primitive.name:
        case "dot_general":
            (contracted, _), _ = step.params["dimension_numbers"]
            if not contracted:  # numbers times numbers, in a product's clothes
                return NOTHING
            each = math.prod(step.invars[0].aval.shape[axis] for axis in contracted)
            return Count(2 * each * step.outvars[0].aval.size, _bytes(step))
        case "conv_general_dilated":
            return Count(2 * _multiplications(step), _bytes(step))
        case "cond":
            counts = [_program(branch.jaxpr) for branch in step.params["branches"]]
            platforms = step.params.get("branches_platforms")
            return counts[platforms.index(None)] if platforms else max(counts)
        case "scan":
            return _program(step.params["jaxpr"].jaxpr) * step.params["length"]
    return sum((_program(inner) for inner in _inner(step.params)), NOTHING)


def _multiplications(step: Any) -> int:
    """Of a convolution; zeros put between pixels, as for the gradient of a stride, left out."""
    kernel, result = step.invars[1].aval, step.outvars[0].aval
    window = kernel.size // kernel.shape[step.params["dimension_numbers"].rhs_spec[0]]
    return result.size * window // math.prod(step.params["lhs_dilation"])


def _bytes(step: Any) -> int:
    values = (v.aval for v in (*step.invars, *step.outvars))
    return sum(aval.size * aval.dtype.itemsize for aval in values)


def _inner(parameters: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """The programs within a step, however its kind names them."""
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part
