"""The convolutional root of the hybrid: a weight-standardised ResNet without its last stage.

This is the R50 root of "An Image is Worth 16x16 Words" (appendix B.1), after Big Transfer:
GroupNorm instead of BatchNorm, standardised kernels, TensorFlow's "SAME" padding. Parameter names
follow Google's published checkpoints (conv_root, block1/unit1/conv1, gn1, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import reduce, repeat
from flax import linen as nn

from maed_jax.models.convolution import convolve

GROUPS = 32  # of channels, for GroupNorm
EPSILON = 1e-5  # for GroupNorm and standardised kernels


def standardise(kernel: jax.Array) -> jax.Array:
    """Scales a kernel `[h w in out]` to zero mean and unit deviation per output channel."""
    mean = kernel.mean(axis=(0, 1, 2))
    return (kernel - mean) / (kernel.std(axis=(0, 1, 2)) + EPSILON)


class StdConv(nn.Module):
    """Convolution of `[b h w c]` with a standardised kernel, "SAME" padding, no bias.

    A parameter "standardised" (see `standardise_kernels`) instead of "kernel" is used unchanged.
    """

    channels: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.has_variable("params", "standardised"):
            kernel = self.get_variable("params", "standardised")
        else:
            shape = (self.size, self.size, x.shape[-1], self.channels)
            kernel = standardise(self.param("kernel", nn.initializers.lecun_normal(), shape))
        return convolve(x, kernel.astype(x.dtype), self.stride)


def standardise_kernels(root: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a `ResNetRoot`, for inference, with kernels standardised in advance."""
    if "kernel" in root:
        return {"standardised": standardise(root["kernel"])}
    return {
        name: standardise_kernels(part) if isinstance(part, Mapping) else part
        for name, part in root.items()
    }


def max_pool(x: jax.Array) -> jax.Array:
    """3x3 max pooling of `[b h w c]` at stride 2, "SAME" padding.

    Takes the maximum of three slices along each axis in turn: the gradient of XLA's window
    reduction takes about four times as long on a CPU.
    """
    for axis in (1, 2):
        out = -(-x.shape[axis] // 2)
        missing = 2 * out + 1 - x.shape[axis]
        padding = [(0, 0)] * x.ndim
        padding[axis] = (missing // 2, missing - missing // 2)
        x = jnp.pad(x, padding, constant_values=-jnp.inf)
        left, middle, right = (
            jax.lax.slice_in_dim(x, i, i + 2 * out - 1, stride=2, axis=axis) for i in range(3)
        )
        x = jnp.maximum(jnp.maximum(left, middle), right)
    return x


@jax.custom_vjp
def group_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalises `x` `[b h w c]` over each of `GROUPS` groups of channels; the others are `[c]`.

    Computes in float32 and returns the dtype of `x`. The cost is reading `x`: twice here and twice
    for the gradient, which takes three quarters (CPU) to five sixths (GPU) of the time of the plain
    formulas. For this, the variance comes from the sums of values and of squares, which is precise
    enough because standardised kernels keep values close to zero.
    """
    return _group_norm_forward(x, scale, bias)[0]


def _group_norm_forward(x: jax.Array, scale: jax.Array, bias: jax.Array):
    x32 = x.astype(jnp.float32)
    pixels = x.shape[1] * x.shape[2]
    mean, square = (_group_mean(sums / pixels) for sums in _pixel_sums(x32, x32**2))
    variance = square - mean**2
    inverse = jax.lax.rsqrt(jnp.maximum(variance, 0) + EPSILON)
    factor = inverse * scale
    y = x32 * factor + (bias - mean * factor)
    return y.astype(x.dtype), (x, scale, mean, inverse)


def _group_norm_backward(saved: tuple[jax.Array, ...], dy: jax.Array):
    x, scale, mean, inverse = saved
    x32, dy = x.astype(jnp.float32), dy.astype(jnp.float32)
    pixels = x.shape[1] * x.shape[2]
    dbias, sum_dy_x = _pixel_sums(dy, dy * x32)
    dscale = (sum_dy_x - mean[:, 0, 0] * dbias) * inverse[:, 0, 0]
    slope = inverse**2 * _group_mean(dscale * scale / pixels)
    shift = mean * slope - inverse * _group_mean(dbias * scale / pixels)
    dx = dy * (inverse * scale) - x32 * slope + shift
    return dx.astype(x.dtype), dscale.sum(axis=0), dbias.sum(axis=0)


group_norm.defvjp(_group_norm_forward, _group_norm_backward)


def _pixel_sums(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums two images `[b h w c]` over their pixels: `[b c]` each."""

    def apart(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        return a.sum(axis=(1, 2)), b.sum(axis=(1, 2))

    def together(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Reads the common input only once, which XLA on a GPU does not always do by itself."""

        def add(one, other):
            return one[0] + other[0], one[1] + other[1]

        return tuple(jax.lax.reduce((a, b), (jnp.zeros((), a.dtype),) * 2, add, (1, 2)))

    return jax.lax.platform_dependent(a, b, cuda=together, default=apart)


def _group_mean(x: jax.Array) -> jax.Array:
    """The mean of `[b c]` over each group, repeated for all its channels: `[b 1 1 c]`."""
    channels = x.shape[-1]
    groups = min(GROUPS, channels)  # at least one channel per group
    mean = reduce(x, "b (groups c) -> b groups", "mean", groups=groups)
    return repeat(mean, "b groups -> b 1 1 (groups c)", c=channels // groups)


class GroupNorm(nn.Module):
    """See `group_norm`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        return group_norm(x, scale, bias)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions plus the shortcut. `[b h w c]`."""

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = self.channels // 4
        shortcut = x
        if self.stride != 1 or x.shape[-1] != self.channels:
            shortcut = StdConv(self.channels, 1, self.stride, name="conv_proj")(x)
            shortcut = GroupNorm(name="gn_proj")(shortcut)
        y = nn.relu(GroupNorm(name="gn1")(StdConv(inner, 1, name="conv1")(x)))
        y = nn.relu(GroupNorm(name="gn2")(StdConv(inner, 3, self.stride, name="conv2")(y)))
        y = GroupNorm(name="gn3")(StdConv(self.channels, 1, name="conv3")(y))
        return _relu(y + shortcut)


@jax.custom_vjp
def _relu(x: jax.Array) -> jax.Array:
    """Like `nn.relu`, but the gradient keeps the output, which is saved anyway, instead of `x`."""
    return nn.relu(x)


def _relu_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = jax.lax.optimization_barrier(nn.relu(x))  # otherwise XLA still uses `x`
    return y, y


_relu.defvjp(_relu_forward, lambda y, dy: (jnp.where(y > 0, dy, 0),))


class Stage(nn.Module):
    """Bottlenecks of the same width; the first changes width and resolution."""

    blocks: int
    channels: int
    stride: int
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        bottleneck = nn.remat(Bottleneck) if self.remat else Bottleneck
        for i in range(self.blocks):
            x = bottleneck(self.channels, self.stride if i == 0 else 1, name=f"unit{i + 1}")(x)
        return x


class ResNetRoot(nn.Module):
    """Maps images `[b h w 3]` to features `[b h/s w/s c]`.

    Each stage but the first halves the resolution and doubles the channels: s = 2^(stages + 1),
    c = 2^(stages + 1) * width. The paper's has three stages: 224x224 becomes 14x14x1024.
    `remat` recomputes each bottleneck for the gradient instead of keeping its activations.
    """

    stage_sizes: tuple[int, ...] = (3, 4, 9)
    width: int = 64
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = StdConv(self.width, 7, 2, name="conv_root")(x)
        x = nn.relu(GroupNorm(name="gn_root")(x))
        x = max_pool(x)
        for i, blocks in enumerate(self.stage_sizes):
            channels = 4 * self.width * 2**i
            stride = 1 if i == 0 else 2
            x = Stage(blocks, channels, stride, self.remat, name=f"block{i + 1}")(x)
        return x
