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
from maed_jax.models.checks import check_clip, check_network
from maed_jax.models.cnn import ConvolutionalEncoder
from maed_jax.models.encoder import SpatialTemporalEncoder, TemporalEncoder
from maed_jax.models.iterative import IterativeDecoder
from maed_jax.models.ktd import KinematicTopologyDecoder, ktd_ancestors
from maed_jax.models.regression import Regression
from maed_jax.models.resnet import standardise_kernels
from maed_jax.models.vanilla_decoder import VanillaDecoder


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

    @classmethod
    def from_regression(
        cls, regression: Regression, feature: jax.Array, body: smpl.Body, *, vertices: bool
    ) -> Prediction:
        """Poses `body` with a decoder's output.

        Without `vertices`, its `smpl.keypoint_body` suffices.
        """
        rotmat = matrix_from_6d(regression.pose6d)
        posed = smpl.pose_body(body, rotmat, regression.shape)
        keypoints_3d = smpl.keypoints(body, posed)
        return cls(
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

    `encoder`, `mode` and `decoder` select the row of the paper's Table 2; see docs/model.md. The
    body is passed to each call; it is never a parameter.

    With `mutable="intermediates"`, `apply` also returns the weights of attention, which
    `encoder.attention_weights` reads. The prediction is the same, but takes longer: the last block
    then computes all tokens, and attention is not fused.
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
        feature, regression = self.regress(clip, body, train=train)  # creates the modules
        return Prediction.from_regression(regression, feature, body, vertices=vertices)

    @nn.compact
    def regress(
        self, clip: jax.Array, body: smpl.Body | None, *, train: bool = False
    ) -> tuple[jax.Array, Regression]:
        """Encoder and decoder, which have all parameters: features `[b t d]` and `Regression`."""
        check_network(self)
        check_clip(clip, self.image_size)
        encoder, decoder = make_encoder(self, "encoder"), make_decoder(self, "decoder")
        feature = encoder(clip.astype(self.dtype), train=train)
        feature = feature.astype(jnp.float32)  # the rest is cheap but needs precision
        return feature, decoder(feature, body, train=train)


def make_encoder(model: MAED, name: str | None = None) -> nn.Module:
    """Creates the encoder of a `MAED`: `encoder(clip, train=...)` returns features `[b t d]`.

    It computes in the dtype of the clip. Parameters and the sums in softmax and norms are float32.
    """
    root = dict(stage_sizes=tuple(model.stage_sizes), width=model.width, remat=model.remat)
    if model.encoder == "cnn":
        return ConvolutionalEncoder(**root, name=name)
    settings = dict(
        clip_length=model.clip_length,
        dim=model.dim,
        depth=model.depth,
        heads=model.heads,
        feature_dim=model.feature_dim,
        interpolate_time=model.interpolate_time,
    )
    if model.encoder == "te":
        return TemporalEncoder(**root, **settings, name=name)
    return SpatialTemporalEncoder(**root, **settings, mode=model.mode, name=name)


def make_decoder(model: MAED, name: str | None = None) -> nn.Module:
    """Creates the decoder of a `MAED`: `decoder(feature, body, train=...)` gives a `Regression`."""
    width, dropout = model.decoder_width, model.dropout
    if model.decoder == "iterative":
        return IterativeDecoder(width, dropout, name=name)
    if model.decoder == "vanilla":  # 0.5 is too much for attention; 0 disables it here too
        return VanillaDecoder(model.dim, model.heads, min(dropout, 0.1), name=name)
    ancestors = ktd_ancestors(model.decoder, model.tree_seed)
    return KinematicTopologyDecoder(width, dropout, ancestors, name=name)


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
