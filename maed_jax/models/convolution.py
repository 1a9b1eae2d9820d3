"""Convolutions with "SAME" padding, each computed in the fastest way on the device in use."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange

from maed_jax.models import winograd
from maed_jax.models.layers import folded_matmul

# Fewest input and output channels, and pixels per side, for which CPUs use `winograd` for 3x3.
FEWEST_CHANNELS, FEWEST_PIXELS = 64, 8
_ABREAST = 4  # outputs per window, see `_kernel_gradient_by_windows`


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves images `[b h w in]` with a kernel `[size size in out]`, "SAME" padding."""
    match len(kernel), stride:
        case 1, 1:
            return _pointwise(x, kernel)
        case 1, 2:
            # On GPUs, jaxlib 0.11 crashes in a kernel that it generates for such a matmul.
            return jax.lax.platform_dependent(
                x, kernel, cpu=_pointwise_stride2, default=_stride2_by_xla
            )
        case 3, 1:
            return _conv3x3(x, kernel)
        case 7, 2:
            return _conv7x7(x, kernel)
    return _by_xla(x, kernel, stride)


def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return folded_matmul(x, kernel[0, 0])


def _pointwise_stride2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _pointwise(x[:, ::2, ::2], kernel)


def _by_xla(x: jax.Array, kernel: jax.Array, stride: int, padding: str = "SAME") -> jax.Array:
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=dims)


def _stride1_by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_xla(x, kernel, 1)


def _stride2_by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_xla(x, kernel, 2)


def _input_gradient(x: jax.Array, kernel: jax.Array, stride: int, dy: jax.Array) -> jax.Array:
    return jax.linear_transpose(lambda x: _by_xla(x, kernel, stride), x)(dy)[0]


def _kernel_gradient_of(convolution: Callable, kernel: jax.Array) -> Callable:
    """The gradient of `convolution(x, kernel)` for the kernel, as a function of `x` and `dy`."""

    def gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(kernel.shape, x.dtype)
        return jax.linear_transpose(functools.partial(convolution, x), shape)(dy)[0]

    return gradient


@jax.custom_vjp
def _conv7x7(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """7x7 convolution at stride 2."""
    return jax.lax.platform_dependent(x, kernel, cuda=_conv7x7_by_squares, default=_stride2_by_xla)


def _conv7x7_backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array):
    x, kernel = saved
    dx = _input_gradient(x, kernel, 2, dy)
    dkernel = {
        "cpu": _kernel_gradient_by_windows,
        "cuda": _kernel_gradient_of(_conv7x7_by_squares, kernel),
        "default": _kernel_gradient_of(_stride2_by_xla, kernel),
    }
    return dx, jax.lax.platform_dependent(x, dy, **dkernel).astype(kernel.dtype)


def _conv7x7_by_squares(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """7x7 at stride 2 as 4x4 at stride 1 over squares of 2x2 pixels, with channels padded to 16.

    With three channels cuDNN takes 2.3 times as long, and the kernel gradient 2.0 times (H200,
    512 images of 224x224 in bfloat16: 4.0 against 1.8 ms, and 2.7 against 1.3 ms).
    """
    x = rearrange(_pad_7x7(x, 1, 1), "b (h i) (w j) c -> b h w (i j c)", i=2, j=2)
    kernel = jnp.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    kernel = rearrange(kernel, "(h i) (w j) c out -> h w (i j c) out", i=2, j=2)
    missing = (0, -x.shape[-1] % 16)
    x = jnp.pad(x, [(0, 0)] * 3 + [missing])
    kernel = jnp.pad(kernel, [(0, 0), (0, 0), missing, (0, 0)])
    return _by_xla(x, kernel, 1, "VALID")


def _pad_7x7(x: jax.Array, rows: int, columns: int) -> jax.Array:
    """Pads as TensorFlow does for 7x7 at stride 2, plus `rows` and `columns` more at the end."""
    padding = [(0, 0)] * 4
    for axis, more in ((1, rows), (2, columns)):
        missing = 2 * -(-x.shape[axis] // 2) + 5 - x.shape[axis]
        padding[axis] = (missing // 2, missing - missing // 2 + more)
    return jnp.pad(x, padding)


@jax.custom_vjp
def _conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution at stride 1."""
    on_cpu = _conv3x3_on_cpu(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=_stride1_by_xla)


def _conv3x3_backward(saved: tuple[jax.Array, jax.Array], dy: jax.Array):
    x, kernel = saved
    convolve_on_cpu = _conv3x3_on_cpu(x, kernel)

    def with_rotated_kernel(kernel: jax.Array, dy: jax.Array) -> jax.Array:
        return convolve_on_cpu(dy, jnp.swapaxes(kernel[::-1, ::-1], 2, 3))

    def by_xla(kernel: jax.Array, dy: jax.Array) -> jax.Array:
        return _input_gradient(x, kernel, 1, dy)

    dx = jax.lax.platform_dependent(kernel, dy, cpu=with_rotated_kernel, default=by_xla)
    dkernel = {
        "cpu": _kernel_gradient_by_rows,
        "default": _kernel_gradient_of(_stride1_by_xla, kernel),
    }
    return dx, jax.lax.platform_dependent(x, dy, **dkernel).astype(kernel.dtype)


def _conv3x3_on_cpu(x: jax.Array, kernel: jax.Array) -> Callable:
    """The fastest 3x3 convolution on a CPU.

    With few channels or pixels, Winograd's tiling costs more than it saves.
    """
    large = min(kernel.shape[2:]) >= FEWEST_CHANNELS and min(x.shape[1:3]) >= FEWEST_PIXELS
    return winograd.convolve if large and x.dtype == jnp.float32 else _stride1_by_xla


def _kernel_gradient_by_rows(x: jax.Array, dy: jax.Array) -> jax.Array:
    """Kernel gradient of the 3x3 convolution at stride 1, as one matmul per row of the kernel.

    XLA uses a convolution whose window is the whole image, which takes two to eight times as long
    on CPUs at 56x56 pixels, and 0.5 to 2 times as long at 14x14 and less.
    """
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = rearrange([x[:, :, j : j + w] for j in range(3)], "j b h w c -> b h w (j c)")
    dy = rearrange(dy, "b h w out -> (b h w) out")
    rows = [rearrange(columns[:, i : i + h], "b h w k -> (b h w) k") for i in range(3)]
    rows = [jnp.einsum("no,nk->ok", dy, row) for row in rows]  # without transposing either
    return rearrange(rows, "i out (j c) -> i j c out", j=3)


def _kernel_gradient_by_windows(x: jax.Array, dy: jax.Array) -> jax.Array:
    """Kernel gradient of the 7x7 convolution at stride 2, as one matmul.

    Each window is wide enough for `_ABREAST` outputs of a row; products outside an output's own
    7x7 window are dropped. Windows of one output each would mean copying 2.5 times as many numbers,
    in shorter runs, and a matmul only as wide as there are channels.
    """
    n, m = dy.shape[1:3]
    c, groups = x.shape[3], -(-m // _ABREAST)
    dy = jnp.pad(dy, ((0, 0), (0, 0), (0, groups * _ABREAST - m), (0, 0)))
    x = _pad_7x7(x, 0, 2 * _ABREAST * (groups + 1) - (2 * m + 5))
    blocks = rearrange(x, "b h (k u) c -> b h k (u c)", k=groups + 1)
    rows = jnp.concatenate([blocks[:, :, :-1], blocks[:, :, 1:, : 5 * c]], axis=-1)
    windows = jnp.concatenate([rows[:, i : i + 2 * n - 1 : 2] for i in range(7)], axis=-1)
    windows = rearrange(windows, "b n k w -> (b n k) w")
    dy = rearrange(dy, "b n (k v) out -> (b n k) (v out)", k=groups)
    products = jnp.einsum("ro,rw->ow", dy, windows)  # without transposing either
    products = rearrange(products, "(v out) (i u c) -> v i u c out", v=_ABREAST, i=7, c=c)
    return sum(products[v, :, 2 * v : 2 * v + 7] for v in range(_ABREAST))


_conv7x7.defvjp(lambda x, kernel: (_conv7x7(x, kernel), (x, kernel)), _conv7x7_backward)
_conv3x3.defvjp(lambda x, kernel: (_conv3x3(x, kernel), (x, kernel)), _conv3x3_backward)
