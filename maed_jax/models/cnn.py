"""ResNet with BatchNorm and global pooling: the paper's baseline encoder (table 2, CNN).

This is torchvision's ResNet-50 (He et al., 2016; the stride on the 3x3), names of layers included:
its weights fit one to one. Paddings are symmetric, as PyTorch's are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.models.convolution import convolve
from maed_jax.models.parameters import BatchNorm, Module
from maed_jax.models.resnet import max_pool
from maed_jax.models.sizes import check_clip


class Conv(Module):
    """Convolution without bias, half the kernel's size of zeros on all sides. `[b h w c]`."""

    channels: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        shape = (self.size, self.size, x.shape[-1], self.channels)
        kernel = self.param("kernel", init, shape).astype(x.dtype)
        if self.stride == 1 or self.size == 1:
            return convolve(x, kernel, self.stride)
        return mirror(convolve(mirror(x), kernel[::-1, ::-1], self.stride))


def mirror(x: jax.Array) -> jax.Array:
    """Images `[b h w c]` turned by half a turn.

    At stride 2 TF pads an even size more at its end, PyTorch at its beginning.
    """
    return x[:, ::-1, ::-1]


def batch_norm(name: str, train: bool, dtype: jnp.dtype = jnp.float32) -> BatchNorm:
    """BatchNorm with PyTorch's settings; its running values are the collection "batch_stats".

    In training it takes the mean over the whole batch, and under `jit` that is the whole batch of
    all devices: it is SyncBatchNorm by itself.

    PyTorch's running variance is the unbiased one, n / (n - 1) times ours, with n the batch times
    the pixels of the layer: 1e-3 more at 20 images and 7x7 pixels. Answers with given weights are
    the same; those after training differ by as little.

    Statistics are float32, the answer is of `dtype`.
    """
    return BatchNorm(
        use_running_average=not train,
        momentum=0.9,  # PyTorch calls it 0.1
        epsilon=1e-5,
        dtype=dtype,
        use_fast_variance=False,
        name=name,
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, and the shortcut. `[b h w c]`."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        inner = self.channels // 4
        shortcut = x
        if self.stride != 1 or x.shape[-1] != self.channels:
            shortcut = Conv(self.channels, 1, self.stride, name="downsample_conv")(x)
            shortcut = batch_norm("downsample_bn", train, x.dtype)(shortcut)
        y = nn.relu(batch_norm("bn1", train, x.dtype)(Conv(inner, 1, name="conv1")(x)))
        y = nn.relu(batch_norm("bn2", train, x.dtype)(Conv(inner, 3, self.stride, name="conv2")(y)))
        y = batch_norm("bn3", train, x.dtype)(Conv(self.channels, 1, name="conv3")(y))
        return nn.relu(y + shortcut)


class ConvolutionalEncoder(nn.Module):
    """Clips `[b t h w 3]` to features `[b t c]`, every frame by itself.

    Stages of 4 * width channels and twice as many each; ResNet-50 has (3, 4, 6, 3) bottlenecks and
    gives 2048 channels. With `remat`, the gradient computes each bottleneck again instead of
    keeping what is inside.
    """

    image_size: int
    stage_sizes: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    remat: bool = False

    @nn.compact
    def __call__(self, clip: jax.Array, *, train: bool = False) -> jax.Array:
        check_clip(clip, self.image_size)
        x = rearrange(clip, "b t h w c -> (b t) h w c")
        x = nn.relu(batch_norm("bn1", train, x.dtype)(Conv(self.width, 7, 2, name="conv1")(x)))
        x = mirror(max_pool(mirror(x)))
        # `train` is a static argument: BatchNorm branches on it in Python
        bottleneck = nn.remat(Bottleneck, static_argnums=(2,)) if self.remat else Bottleneck
        for stage, blocks in enumerate(self.stage_sizes):
            channels = 4 * self.width * 2**stage
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                x = bottleneck(channels, stride, name=f"layer{stage + 1}_{i}")(x, train)
        return rearrange(x.mean(axis=(1, 2)), "(b t) c -> b t c", b=clip.shape[0])
