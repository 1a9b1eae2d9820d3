"""ResNet with BatchNorm and global pooling: the paper's baseline encoder (table 2, CNN).

This is torchvision's ResNet-50 (He et al., 2016; stride on the 3x3 convolution) with the same layer
names, so its weights map one to one. Padding is symmetric, as in PyTorch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from maed_jax.models.convolution import convolve
from maed_jax.models.resnet import max_pool


class Conv(nn.Module):
    """Convolution of `[b h w c]` without bias, zero-padded by size // 2 on every side."""

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
    """Rotates images `[b h w c]` by 180 degrees.

    At stride 2, TensorFlow pads an even size more at its end, PyTorch more at its beginning.
    """
    return x[:, ::-1, ::-1]


def batch_norm(name: str, train: bool, dtype: jnp.dtype = jnp.float32) -> nn.BatchNorm:
    """BatchNorm with PyTorch's settings; the collection "batch_stats" has its running statistics.

    In training it averages over the whole batch, which under `jit` means that of all devices, as in
    SyncBatchNorm.

    PyTorch's running variance is the unbiased one, n / (n - 1) times ours, where n is the batch
    size times the layer's pixels: 1e-3 larger for 20 images of 7x7 pixels. With given weights,
    outputs are the same; after training, they differ by as little.

    Statistics are float32, outputs have dtype `dtype`.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,  # 0.1 in PyTorch's convention
        epsilon=1e-5,
        dtype=dtype,
        use_fast_variance=False,
        name=name,
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions plus the shortcut. `[b h w c]`."""

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
    """Maps clips `[b t h w 3]` to features `[b t c]`, each frame independently.

    The first stage has 4 * width channels, each further one twice as many; ResNet-50 has
    (3, 4, 6, 3) bottlenecks and returns 2048 channels. `remat` recomputes each bottleneck for the
    gradient instead of keeping its activations.
    """

    stage_sizes: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    remat: bool = False

    @nn.compact
    def __call__(self, clip: jax.Array, *, train: bool = False) -> jax.Array:
        x = rearrange(clip, "b t h w c -> (b t) h w c")
        x = nn.relu(batch_norm("bn1", train, x.dtype)(Conv(self.width, 7, 2, name="conv1")(x)))
        x = mirror(max_pool(mirror(x)))
        # `train` is static because BatchNorm branches on it in Python
        bottleneck = nn.remat(Bottleneck, static_argnums=(2,)) if self.remat else Bottleneck
        for stage, blocks in enumerate(self.stage_sizes):
            channels = 4 * self.width * 2**stage
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                x = bottleneck(channels, stride, name=f"layer{stage + 1}_{i}")(x, train)
        return rearrange(x.mean(axis=(1, 2)), "(b t) c -> b t c", b=clip.shape[0])
