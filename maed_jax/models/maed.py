"""MAED: maps a clip of person crops to a body in every frame."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from flax import struct, traverse_util

from maed_jax.body import camera as weak_perspective
from maed_jax.body import smpl
from maed_jax.body.rotations import axis_angle_from_matrix, matrix_from_6d
from maed_jax.models.attention import Mode
from maed_jax.models.decoders import make_decoder
from maed_jax.models.encoders import make_encoder
from maed_jax.models.regression import Regression
from maed_jax.models.resnet import standardise_kernels
from maed_jax.models.sizes import check_sizes


@struct.dataclass
class Prediction:
    """The body in every frame of a clip, in the camera's frame: x right, y down, z forward."""

    camera: jax.Array
    """`[b t 3]` weak-perspective scale and translation (s, tx, ty), relative to the crop"""
    pose: jax.Array
    """`[b t 72]` axis-angle, each joint in its parent's frame, the root in the camera's"""
    shape: jax.Array
    """`[b t 10]` betas"""
    rotmat: jax.Array
    """`[b t 24 3 3]` the pose as matrices"""
    keypoints_3d: jax.Array
    """`[b t 49 3]` metres, relative to the body's origin"""
    keypoints_2d: jax.Array
    """`[b t 49 2]` in the crop, which spans [-1, 1]"""
    verts: jax.Array | None
    """`[b t verts 3]` metres, or None if not requested"""
    feature: jax.Array
    """`[b t d]` the encoder's output"""


def reconstruct(
    regression: Regression, feature: jax.Array, body: smpl.Body, *, vertices: bool
) -> Prediction:
    """Poses the body with a decoder's output; without `vertices`, `smpl.keypoint_body` suffices."""
    rotmat = matrix_from_6d(regression.pose6d)
    posed = smpl.pose_body(body, rotmat, regression.shape)
    keypoints_3d = smpl.keypoints(body, posed)
    return Prediction(
        camera=regression.camera,
        pose=rearrange(axis_angle_from_matrix(rotmat), "... joints xyz -> ... (joints xyz)"),
        shape=regression.shape,
        rotmat=rotmat,
        keypoints_3d=keypoints_3d,
        keypoints_2d=weak_perspective.project(keypoints_3d, regression.camera),
        verts=posed.verts if vertices else None,
        feature=feature,
    )


class MAED(nn.Module):
    """Encoder and decoder with multi-level attention. The defaults are the paper's network.

    `encoder`, `mode` and `decoder` select the row of the paper's Table 2; see `encoders` and
    `decoders`. The body is passed to each call; it is never a parameter.
    """

    image_size: int = 224
    clip_length: int = 16
    stage_sizes: tuple[int, ...] = (3, 4, 9)
    width: int = 64
    dim: int = 768
    depth: int = 6
    heads: int = 12
    encoder: str = "ste"
    mode: Mode = "parallel"
    feature_dim: int = 768
    decoder: str = "ktd"
    decoder_width: int = 1024
    dropout: float = 0.5
    interpolate_time: bool = False  # interpolates the temporal embedding for longer clips
    tree_seed: int = 0  # for the decoder "ktd_random"
    dtype: str = "float32"  # of the encoder's computations, or "bfloat16"
    remat: bool = False  # recomputes the encoder's blocks for the gradient, to save memory

    def __call__(
        self, clip: jax.Array, body: smpl.Body, *, train: bool = False, vertices: bool = False
    ) -> Prediction:
        """Reconstructs normalised clips `[b t h w 3]` (see `maed_jax.data.images.normalise`).

        Args:
          clip: crops that show one person each; t = 1 for single images.
          body: the body to pose; without `vertices`, its `smpl.keypoint_body` suffices.
          train: enables dropout, which needs the RNG stream "dropout", and makes BatchNorm use the
            batch's statistics, which needs the collection "batch_stats" to be mutable.
          vertices: whether to return the mesh too.

        Raises:
          UserError: frames of the wrong size, or more frames than the temporal embedding has; no
            such encoder, mode or decoder; invalid sizes; a body without the mean parameters that
            the decoder needs.
        """
        feature, regression = self.regress(clip, body, train=train)
        return reconstruct(regression, feature, body, vertices=vertices)

    @nn.compact
    def regress(
        self, clip: jax.Array, body: smpl.Body, *, train: bool = False
    ) -> tuple[jax.Array, Regression]:
        """The part with parameters: features `[b t d]`, and pose, shape and camera."""
        check_sizes(self)
        feature = make_encoder(self)(clip.astype(self.dtype), train=train)
        feature = feature.astype(jnp.float32)  # the rest is cheap but needs precision
        return feature, make_decoder(self)(feature, body, train=train)


def variable_shapes(
    model: MAED, body: smpl.Body | None = None
) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Maps the path of each variable of `model`, from its collection ("params") on, to its shape.

    Computes no values. `body` is for decoders that start from its mean parameters.

    Raises:
      UserError: the body has no mean parameters.
    """
    clip = jax.ShapeDtypeStruct((1, 1, model.image_size, model.image_size, 3), jnp.float32)
    init = functools.partial(model.init, method="regress")
    flat = traverse_util.flatten_dict(jax.eval_shape(init, jax.random.key(0), clip, body))
    return {path: leaf.shape for path, leaf in flat.items()}


def for_inference(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Standardises the kernels of the convolutional root, if there is one, in advance.

    A `MAED` computes the same with the result, in less time. It is not for training.
    """
    encoder = variables["params"]["encoder"]
    if "root" not in encoder:
        return dict(variables)
    encoder = {**encoder, "root": jax.jit(standardise_kernels)(encoder["root"])}
    return {**variables, "params": {**variables["params"], "encoder": encoder}}
