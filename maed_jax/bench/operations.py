"""Counts the operations of a function before XLA optimises it: the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr


class Count(NamedTuple):
    """The matmuls and convolutions of a call; everything else is left out."""

    operations: int
    """multiplications and additions; convolution windows at the image border count in full"""
    bytes: int
    """bytes read and written if each operand and result passes through memory once"""

    def __add__(self, other: Count) -> Count:
        return Count(*map(sum, zip(self, other)))

    def __mul__(self, times: int) -> Count:
        return Count(*(times * value for value in self))


NOTHING = Count(0, 0)


def count(function: Callable, *arguments: Any) -> Count:
    """Counts a call of `function`; shapes (`jax.ShapeDtypeStruct`) are enough as arguments.

    The body of a loop whose length is only known at run time counts once. Of the branches of a
    condition the most expensive counts, of those for different devices the default. Unused results
    (such as the gradient of the pixels) do not count.
    """
    program = jax.make_jaxpr(function)(*arguments).jaxpr
    return _program(dce_jaxpr(program, [True] * len(program.outvars))[0])


def _program(jaxpr: core.Jaxpr) -> Count:
    return sum((_step(step) for step in jaxpr.eqns), NOTHING)


def _step(step: Any) -> Count:
    match step.primitive.name:
        case "dot_general":
            (contracted, _), _ = step.params["dimension_numbers"]
            if not contracted:  # an elementwise product in disguise
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
    """Counts those of a convolution, without zeros between pixels (gradients of strides)."""
    kernel, result = step.invars[1].aval, step.outvars[0].aval
    window = kernel.size // kernel.shape[step.params["dimension_numbers"].rhs_spec[0]]
    return result.size * window // math.prod(step.params["lhs_dilation"])


def _bytes(step: Any) -> int:
    values = (v.aval for v in (*step.invars, *step.outvars))
    return sum(aval.size * aval.dtype.itemsize for aval in values)


def _inner(parameters: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """Yields the programs within a step, under whatever parameter names."""
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part
