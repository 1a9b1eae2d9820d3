"""Flax's modules and layers that trace their initialisers only in `init`.

Flax traces the initialiser of every parameter again whenever a network is applied, only to compare
the shapes: two fifths of the time that it takes to trace the paper's network. Here the shapes
themselves are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn


class _ShapesCompared:
    """Comes before a `nn.Module` among the bases of a class."""

    def param(self, name: str, init: Callable[..., Any], *args, **kwargs) -> jax.Array:
        """As Flax's; the first of `args` is the shape."""
        if args and self.has_variable("params", name):
            value = self.get_variable("params", name)
            if value.shape == tuple(args[0]):
                return value
        return super().param(name, init, *args, **kwargs)  # makes it, or says what does not fit


class Module(_ShapesCompared, nn.Module):
    """For modules with parameters of their own."""


class Dense(_ShapesCompared, nn.Dense):
    """See Flax."""


class BatchNorm(_ShapesCompared, nn.BatchNorm):
    """See Flax."""
