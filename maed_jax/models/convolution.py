"""Convolutions with "SAME" padding, each computed in the fastest way on the device in use."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange

from maed_jax.models import winograd

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
                x, kernel, cpu=_pointwise_stride, default=_stride_by_xla
            )
        case 3, 1:
            return _same(x, kernel)
        case 7, 2:
            return _first(x, kernel)
    return _by_xla(x, kernel, stride)


def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """1x1 convolution as one matmul, with the leading axes folded explicitly.

    With three leading axes, the gradient takes two to four times as long on a CPU, because XLA
    transposes them.
    """
    y = rearrange(x, "b h w c -> (b h w) c") @ kernel[0, 0]
    return rearrange(y, "(b h w) c -> b h w c", b=x.shape[0], h=x.shape[1])


def _pointwise_stride(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _pointwise(x[:, ::2, ::2], kernel)


def _by_xla(x: jax.Array, kernel: jax.Array, stride: int, padding: str = "SAME") -> jax.Array:
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=dims)


def _stride_by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_xla(x, kernel, 2)


def _input_gradient(x: jax.Array, kernel: jax.Array, stride: int, gradient: jax.Array):
    return jax.linear_transpose(lambda x: _by_xla(x, kernel, stride), x)(gradient)[0]


def _transposed(form: Callable, kernel: jax.Array) -> Callable:
    """Given `form(x, kernel)`, a convolution, returns `(x, output gradient) -> kernel gradient`."""

    def run(x: jax.Array, gradient: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(kernel.shape, x.dtype)
        return jax.linear_transpose(functools.partial(form, x), shape)(gradient)[0]

    return run


@jax.custom_vjp
def _first(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """7x7 convolution at stride 2."""
    return jax.lax.platform_dependent(x, kernel, cuda=_first_by_squares, default=_stride_by_xla)


def _first_backward(inputs: tuple[jax.Array, jax.Array], gradient: jax.Array):
    x, kernel = inputs
    of_x = _input_gradient(x, kernel, 2, gradient)
    forms = {
        "cpu": _kernel_gradient_by_windows,
        "cuda": _transposed(_first_by_squares, kernel),
        "default": _transposed(_stride_by_xla, kernel),
    }
    return of_x, jax.lax.platform_dependent(x, gradient, **forms).astype(kernel.dtype)


def _first_by_squares(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """7x7 at stride 2 as 4x4 at stride 1 over squares of 2x2 pixels, with channels padded to 16.

    With three channels cuDNN takes 2.3 times as long, and the kernel gradient 2.0 times (H200,
    512 images of 224x224 in bfloat16: 4.0 against 1.8 ms, and 2.7 against 1.3 ms).
    """
    x = rearrange(_pad_first(x, 1, 1), "b (h i) (w j) c -> b h w (i j c)", i=2, j=2)
    kernel = jnp.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    kernel = rearrange(kernel, "(h i) (w j) c out -> h w (i j c) out", i=2, j=2)
    missing = (0, -x.shape[-1] % 16)
    x = jnp.pad(x, [(0, 0)] * 3 + [missing])
    kernel = jnp.pad(kernel, [(0, 0), (0, 0), missing, (0, 0)])
    return _by_xla(x, kernel, 1, "VALID")


def _pad_first(x: jax.Array, rows: int, columns: int) -> jax.Array:
    """Pads as TensorFlow does for 7x7 at stride 2, plus `rows` and `columns` more at the end."""
    padding = [(0, 0)] * 4
    for axis, more in ((1, rows), (2, columns)):
        missing = 2 * -(-x.shape[axis] // 2) + 5 - x.shape[axis]
        padding[axis] = (missing // 2, missing - missing // 2 + more)
    return jnp.pad(x, padding)


@jax.custom_vjp
def _same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution at stride 1."""
    on_cpu = _same_on_cpu(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=_same_by_xla)


def _same_backward(inputs: tuple[jax.Array, jax.Array], gradient: jax.Array):
    x, kernel = inputs
    convolve_on_cpu = _same_on_cpu(x, kernel)

    def turned(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return convolve_on_cpu(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3))

    def by_xla(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return _input_gradient(x, kernel, 1, gradient)

    of_x = jax.lax.platform_dependent(kernel, gradient, cpu=turned, default=by_xla)
    forms = {"cpu": _kernel_gradient_by_rows, "default": _transposed(_same_by_xla, kernel)}
    return of_x, jax.lax.platform_dependent(x, gradient, **forms).astype(kernel.dtype)


def _same_by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_xla(x, kernel, 1)


def _same_on_cpu(x: jax.Array, kernel: jax.Array) -> Callable:
    """The fastest 3x3 convolution on a CPU.

    With few channels or pixels, Winograd's tiling costs more than it saves.
    """
    large = min(kernel.shape[2:]) >= FEWEST_CHANNELS and min(x.shape[1:3]) >= FEWEST_PIXELS
    return winograd.convolve if large and x.dtype == jnp.float32 else _same_by_xla


def _kernel_gradient_by_rows(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Kernel gradient of the 3x3 convolution at stride 1, as one matmul per row of the kernel.

    XLA uses a convolution whose window is the whole image, which takes two to eight times as long
    on CPUs at 56x56 pixels, and 0.5 to 2 times as long at 14x14 and less.
    """
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = rearrange([x[:, :, j : j + w] for j in range(3)], "j b h w c -> b h w (j c)")
    gradient = rearrange(gradient, "b h w out -> (b h w) out")
    rows = [rearrange(columns[:, i : i + h], "b h w k -> (b h w) k") for i in range(3)]
    rows = [jnp.einsum("no,nk->ok", gradient, row) for row in rows]  # without transposing either
    return rearrange(rows, "i out (j c) -> i j c out", j=3)


def _kernel_gradient_by_windows(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Kernel gradient of the 7x7 convolution at stride 2, as one matmul.

    Each window is wide enough for `_ABREAST` outputs of a row; products outside an output's own
    7x7 window are dropped. Windows of one output each would mean copying 2.5 times as many numbers,
    in shorter runs, and a matmul only as wide as there are channels.
    """
    n, m = gradient.shape[1:3]
    c, groups = x.shape[3], -(-m // _ABREAST)
    gradient = jnp.pad(gradient, ((0, 0), (0, 0), (0, groups * _ABREAST - m), (0, 0)))
    x = _pad_first(x, 0, 2 * _ABREAST * (groups + 1) - (2 * m + 5))
    blocks = rearrange(x, "b h (k u) c -> b h k (u c)", k=groups + 1)
    rows = jnp.concatenate([blocks[:, :, :-1], blocks[:, :, 1:, : 5 * c]], axis=-1)
    windows = jnp.concatenate([rows[:, i : i + 2 * n - 1 : 2] for i in range(7)], axis=-1)
    windows = rearrange(windows, "b n k w -> (b n k) w")
    gradient = rearrange(gradient, "b n (k v) out -> (b n k) (v out)", k=groups)
    products = jnp.einsum("ro,rw->ow", gradient, windows)  # without transposing either
    products = rearrange(products, "(v out) (i u c) -> v i u c out", v=_ABREAST, i=7, c=c)
    return sum(products[v, :, 2 * v : 2 * v + 7] for v in range(_ABREAST))


_first.defvjp(lambda x, kernel: (_first(x, kernel), (x, kernel)), _first_backward)
_same.defvjp(lambda x, kernel: (_same(x, kernel), (x, kernel)), _same_backward)
