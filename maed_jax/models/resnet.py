"""The convolutional root of the hybrid: a weight-standardised ResNet without its last stage.

This is the R50 root of "An Image is Worth 16x16 Words" (appendix B.1), after Big Transfer:
GroupNorm in place of BatchNorm, standardised kernels, TF-style "SAME" padding. Names of parameters
follow Google's published checkpoints (conv_root, block1/unit1/conv1, gn1, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange, reduce, repeat
from flax import linen as nn

from maed_jax.models import winograd
from maed_jax.models.parameters import Module

GROUPS = 32  # of channels, in which GroupNorm takes them
EPSILON = 1e-5  # of GroupNorm and of standardised kernels
# From so many channels, in and out, and pixels a side on CPUs convolve 3x3 by `winograd`.
FEWEST_CHANNELS, FEWEST_PIXELS = 64, 8


def standardise(kernel: jax.Array) -> jax.Array:
    """A kernel `[h w in out]` with zero mean and unit deviation for each output channel."""
    mean = kernel.mean(axis=(0, 1, 2))
    return (kernel - mean) / (kernel.std(axis=(0, 1, 2)) + EPSILON)


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Images `[b h w in]` by a kernel `[size size in out]`, "SAME" padding."""
    size = len(kernel)
    if size == 1 and stride == 1:
        return _pointwise(x, kernel)
    if size == 1 and stride == 2:
        # Of the product of every second pixel XLA 0.11 makes a GPU kernel that it dies of.
        return jax.lax.platform_dependent(x, kernel, cpu=_pointwise_stride, default=_stride)
    if size == 7 and stride == 2:
        return _first(x, kernel)
    if size == 3 and stride == 1:
        return _same(x, kernel)
    if size == 3 and stride == 2:
        return jax.lax.platform_dependent(x, kernel, cpu=_stride_by_product, default=_stride)
    return _by_xla(x, kernel, stride)


def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """1x1 as one product, the leading axes folded by hand.

    With three of them the gradient takes XLA two to four times as long on a CPU, because it
    transposes them.
    """
    y = rearrange(x, "b h w c -> (b h w) c") @ kernel[0, 0]
    return rearrange(y, "(b h w) c -> b h w c", b=x.shape[0], h=x.shape[1])


def _pointwise_stride(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _pointwise(x[:, ::2, ::2], kernel)


def _by_xla(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=dims)


def _input_gradient(x: jax.Array, kernel: jax.Array, stride: int, gradient: jax.Array):
    return jax.linear_transpose(lambda x: _by_xla(x, kernel, stride), x)(gradient)[0]


def _kernel_gradient(
    x: jax.Array, kernel: jax.Array, stride: int, gradient: jax.Array, on_cpu: Callable
) -> jax.Array:
    """Of XLA's convolution; on CPUs by `on_cpu(x, gradient)`."""

    def by_xla(x: jax.Array, gradient: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(kernel.shape, x.dtype)
        return jax.linear_transpose(lambda kernel: _by_xla(x, kernel, stride), shape)(gradient)[0]

    of_kernel = jax.lax.platform_dependent(x, gradient, cpu=on_cpu, default=by_xla)
    return of_kernel.astype(kernel.dtype)


@jax.custom_vjp
def _first(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """7x7 at stride 2."""
    return _by_xla(x, kernel, 2)


def _first_backward(inputs: tuple[jax.Array, jax.Array], gradient: jax.Array):
    x, kernel = inputs
    of_x = _input_gradient(x, kernel, 2, gradient)
    return of_x, _kernel_gradient(x, kernel, 2, gradient, _kernel_gradient_by_windows)


@jax.custom_vjp
def _same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 at stride 1."""
    on_cpu = _on_cpu(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=_same_by_xla)


def _same_backward(inputs: tuple[jax.Array, jax.Array], gradient: jax.Array):
    x, kernel = inputs
    on_cpu = _on_cpu(x, kernel)

    def turned(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return on_cpu(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3))

    def by_xla(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return _input_gradient(x, kernel, 1, gradient)

    of_x = jax.lax.platform_dependent(kernel, gradient, cpu=turned, default=by_xla)
    return of_x, _kernel_gradient(x, kernel, 1, gradient, _kernel_gradient_by_rows)


def _same_by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_xla(x, kernel, 1)


def _on_cpu(x: jax.Array, kernel: jax.Array) -> Callable:
    """How a CPU convolves by 3x3 fastest: of little, making tiles takes longer than is saved."""
    large = min(kernel.shape[2:]) >= FEWEST_CHANNELS and min(x.shape[1:3]) >= FEWEST_PIXELS
    return winograd.convolve if large and x.dtype == jnp.float32 else _same_by_xla


def _kernel_gradient_by_rows(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Of 3x3 at stride 1, as a product for each row of the kernel.

    XLA makes it a convolution whose window is the whole image, which takes CPUs two to eight times
    as long at 56x56 pixels, and half as long to twice at 14x14 and less.
    """
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = rearrange([x[:, :, j : j + w] for j in range(3)], "j b h w c -> b h w (j c)")
    gradient = rearrange(gradient, "b h w out -> (b h w) out")
    rows = [rearrange(columns[:, i : i + h], "b h w k -> (b h w) k") for i in range(3)]
    rows = [jnp.einsum("no,nk->ok", gradient, row) for row in rows]  # turns over neither
    return rearrange(rows, "i out (j c) -> i j c out", j=3)


def _kernel_gradient_by_windows(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Of 7x7 at stride 2, as one product of all windows.

    Pixels are taken in pairs, of which a window's row is four in a row: of three channels each, 24
    numbers to copy at once. XLA takes five times as long on a CPU at 224x224 pixels, 1.6 times as
    long at 64x64 and a quarter of the channels.
    """
    n, m = gradient.shape[1:3]
    padding = [(0, 0)] * 4
    for axis, windows, last in ((1, n, 7), (2, m, 8)):  # one column more makes pairs
        before = (2 * windows + 5 - x.shape[axis]) // 2
        padding[axis] = (before, 2 * windows + last - 2 - x.shape[axis] - before)
    pairs = rearrange(jnp.pad(x, padding), "b h (w two) c -> b h w (two c)", two=2)
    rows = jnp.concatenate([pairs[:, :, j : j + m] for j in range(4)], axis=-1)
    windows = jnp.concatenate([rows[:, i : i + 2 * n - 1 : 2] for i in range(7)], axis=-1)
    windows, gradient = (rearrange(a, "b h w k -> (b h w) k") for a in (windows, gradient))
    return rearrange(windows.T @ gradient, "(i j c) out -> i j c out", i=7, j=8)[:, :7]


_first.defvjp(lambda x, kernel: (_by_xla(x, kernel, 2), (x, kernel)), _first_backward)
_same.defvjp(lambda x, kernel: (_same(x, kernel), (x, kernel)), _same_backward)


def _stride(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_xla(x, kernel, 2)


def _stride_by_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same as one product of all 3x3 windows: a strided convolution's gradient is slow on CPUs.

    Measured with it: 1.2 times as fast at 56x56 pixels, 6 times at 4x4.
    """
    h, w = (-(-size // 2) for size in x.shape[1:3])
    x = _pad_same(x, (1, 2))
    windows = [
        x[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2] for i in range(3) for j in range(3)
    ]
    windows = rearrange(windows, "taps b h w c -> (b h w) (taps c)")
    y = windows @ rearrange(kernel, "i j c out -> (i j c) out")
    return rearrange(y, "(b h w) c -> b h w c", h=h, w=w)


def _pad_same(x: jax.Array, axes: tuple[int, ...], value: float = 0.0) -> jax.Array:
    """Pads for windows of 3 at stride 2, TF's way: the odd one at the end."""
    padding = [(0, 0, 0)] * x.ndim
    for axis in axes:
        missing = max(2 * -(-x.shape[axis] // 2) + 1 - x.shape[axis], 0)
        padding[axis] = (missing // 2, missing - missing // 2, 0)
    return jax.lax.pad(x, jnp.array(value, x.dtype), padding)


class StdConv(Module):
    """Convolution by a standardised kernel, "SAME" padding, no bias. `[b h w c]`.

    Where the parameters hold "standardised" in place of "kernel" (see `standardise_kernels`), that
    is taken as it is.
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
    """A `ResNetRoot`'s parameters for inference: its kernels standardised once and for all."""
    if "kernel" in root:
        return {"standardised": standardise(root["kernel"])}
    return {
        name: standardise_kernels(part) if isinstance(part, Mapping) else part
        for name, part in root.items()
    }


def max_pool(x: jax.Array) -> jax.Array:
    """3x3 maximum at stride 2, "SAME" padding. `[b h w c]`.

    One axis after the other by three slices: the gradient of XLA's own window reduction takes about
    four times as long on a CPU.
    """
    for axis in (1, 2):
        out = -(-x.shape[axis] // 2)
        x = _pad_same(x, (axis,), -jnp.inf)
        left, middle, right = (
            jax.lax.slice_in_dim(x, i, i + 2 * out - 1, stride=2, axis=axis) for i in range(3)
        )
        x = jnp.maximum(jnp.maximum(left, middle), right)
    return x


@jax.custom_vjp
def group_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalises each of `GROUPS` groups of channels over the image. `[b h w c]`, `[c]`, `[c]`.

    Reading the image is what it costs: twice here and twice for the gradient, which takes three
    quarters of the time of the plain formulas (a CPU) to five sixths (a GPU). So the variance comes
    from the sums of values and of squares, exact enough as standardised kernels leave values about
    zero. In float32 whatever the images are, and back to their dtype.
    """
    return _group_norm_forward(x, scale, bias)[0]


def _group_norm_forward(x: jax.Array, scale: jax.Array, bias: jax.Array):
    values = x.astype(jnp.float32)
    mean = _of_groups(values.mean(axis=(1, 2)))
    variance = _of_groups((values**2).mean(axis=(1, 2))) - mean**2
    inverse = jax.lax.rsqrt(jnp.maximum(variance, 0) + EPSILON)
    factor = inverse * scale
    y = values * factor + (bias - mean * factor)
    return y.astype(x.dtype), (x, scale, mean, inverse)


def _group_norm_backward(saved: tuple[jax.Array, ...], gradient: jax.Array):
    x, scale, mean, inverse = saved
    values, given = x.astype(jnp.float32), gradient.astype(jnp.float32)
    pixels = x.shape[1] * x.shape[2]
    alone = given.sum(axis=(1, 2))  # [b c]
    along = ((given * values).sum(axis=(1, 2)) - mean[:, 0, 0] * alone) * inverse[:, 0, 0]
    slope = inverse**2 * _of_groups(along * scale / pixels)
    shift = mean * slope - inverse * _of_groups(alone * scale / pixels)
    of_x = given * (inverse * scale) - values * slope + shift
    return of_x.astype(x.dtype), along.sum(axis=0), alone.sum(axis=0)


group_norm.defvjp(_group_norm_forward, _group_norm_backward)


def _of_groups(x: jax.Array) -> jax.Array:
    """The mean of `[b c]` over each group, for all its channels: `[b 1 1 c]`."""
    channels = x.shape[-1]
    groups = min(GROUPS, channels)  # fewer where so many would leave none to a group
    mean = reduce(x, "b (groups c) -> b groups", "mean", groups=groups)
    return repeat(mean, "b groups -> b 1 1 (groups c)", c=channels // groups)


class GroupNorm(Module):
    """See `group_norm`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        return group_norm(x, scale, bias)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, and the shortcut."""

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
        return nn.relu(y + shortcut)


class Stage(nn.Module):
    """Bottlenecks of one width; the first changes width and resolution."""

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
    """Images `[b h w 3]` to features `[b h/s w/s c]`.

    Each stage but the first halves the resolution and doubles the channels: s = 2^(stages + 1),
    c = 2^(stages + 1) * width. The paper's has three stages: 224x224 gives 14x14x1024.
    With `remat`, the gradient computes each bottleneck again instead of keeping what is inside.
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
