"""The SMPL body: shape, pose, skin. Pure functions of a frozen `Body`; any leading batch axes.

Axes are SMPL's: y up, x to the body's left, z forward; units are metres. There is no translation.
Source: Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import einsum, rearrange

from maed_jax.body import skeleton
from maed_jax.errors import UserError

NUM_JOINTS = len(skeleton.PARENTS)
NUM_BETAS = 10


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Body:
    """A body model. Arrays are float32 unless stated otherwise, and never trained parameters."""

    template: jax.Array
    """[verts 3] the mean body at rest, metres"""
    shape_dirs: jax.Array
    """[verts 3 betas] displacement per unit of each shape coefficient, metres"""
    pose_dirs: jax.Array
    """[verts 3 207] displacement per entry of R - 1, nine for each joint but the root, metres"""
    skin_weights: jax.Array
    """[verts joints] how much each vertex follows each joint; rows sum to one"""
    rest_joints: jax.Array
    """[joints 3] joints of the mean body, metres"""
    rest_joint_dirs: jax.Array
    """[joints 3 betas] displacement of the joints per unit of each shape coefficient, metres"""
    faces: jax.Array
    """[faces 3] int32, counter-clockwise when seen from outside"""
    landmark_regressor: jax.Array | None = None
    """[30 verts] landmarks as weighted sums of vertices, in the order of `LANDMARK_NAMES`"""
    h36m_regressor: jax.Array | None = None
    """[17 verts] the joints of Human3.6M, in the order of the joint set `h36m_regressor`"""
    mean_pose6d: jax.Array | None = None
    """[144] mean pose in 6D, initial value of the iterative decoder"""
    mean_shape: jax.Array | None = None
    """[10] mean betas, likewise"""
    mean_camera: jax.Array | None = None
    """[3] mean (s, tx, ty), likewise"""
    name: str = dataclasses.field(default="smpl", metadata={"static": True})
    """"smpl" or "mannequin": the body whose shape coefficients these are"""
    parents: tuple[int, ...] = dataclasses.field(
        default=skeleton.PARENTS, metadata={"static": True}
    )
    """each joint's parent, -1 for the root"""


class Posed(NamedTuple):
    """A body in a pose."""

    joints: jax.Array
    """[... joints 3] metres"""
    verts: jax.Array
    """[... verts 3] metres"""


def pose_body(body: Body, R_parent_joint: jax.Array, betas: jax.Array) -> Posed:
    """Shapes, poses and skins the body.

    Args:
      body: with all its vertices, or restricted to some.
      R_parent_joint: [... joints 3 3] rotation of each joint relative to its parent; the root's is
        its orientation in the world, about the pelvis.
      betas: [... 10] shape coefficients; leading axes broadcast against those of the rotations.

    Raises:
      UserError: arrays of the wrong shape.
    """
    _check_shapes(body, R_parent_joint.shape, betas.shape)
    batch = jnp.broadcast_shapes(R_parent_joint.shape[:-3], betas.shape[:-1])
    # With a single batch axis, everything below is plain matmuls.
    size = math.prod(batch)
    R_parent_joint = jnp.broadcast_to(R_parent_joint, batch + R_parent_joint.shape[-3:])
    R_parent_joint = R_parent_joint.reshape(size, *R_parent_joint.shape[-3:])
    betas = jnp.broadcast_to(betas, batch + betas.shape[-1:]).reshape(size, betas.shape[-1])
    with jax.default_matmul_precision("highest"):  # geometry is no place for bfloat16
        rest_joints = body.rest_joints + einsum(
            betas, body.rest_joint_dirs, "b betas, joints xyz betas -> b joints xyz"
        )
        T_world_joint = _forward_kinematics(body.parents, R_parent_joint, rest_joints)
        rest_verts = _rest_verts(body, R_parent_joint, betas)
        verts = _skin(body.skin_weights, T_world_joint, rest_joints, rest_verts)
    joints = T_world_joint[..., 3]
    return Posed(
        joints.reshape(*batch, *joints.shape[1:]),
        verts.reshape(*batch, *verts.shape[1:]),
    )


def _check_shapes(body: Body, rotations: tuple[int, ...], betas: tuple[int, ...]) -> None:
    shape = (len(body.parents), 3, 3)
    if rotations[-3:] != shape:
        raise UserError(
            f"rotations must be matrices [... {' '.join(map(str, shape))}], not {list(rotations)};"
            " maed_jax.body.rotations.matrix_from_axis_angle converts axis-angle [... 24 3]"
        )
    count = body.shape_dirs.shape[-1]
    if betas[-1:] != (count,):
        raise UserError(f"this body takes betas [... {count}], not {list(betas)}")


def _forward_kinematics(
    parents: tuple[int, ...], R_parent_joint: jax.Array, rest_joints: jax.Array
) -> jax.Array:
    """World transforms [rotation | position] of the joints, [b joints 3 4], level by level."""
    parent = np.array(parents)
    bones = jnp.where((parent < 0)[:, None], rest_joints, rest_joints - rest_joints[:, parent])
    T_parent_joint = jnp.concatenate([R_parent_joint, bones[..., None]], axis=-1)
    position_only = np.array([0, 0, 0, 1], np.float32)
    by_level = skeleton.levels(parents)
    T_levels = [T_parent_joint[:, np.array(by_level[0])]]
    for upper, level in zip(by_level, by_level[1:]):
        T_parents = T_levels[-1][:, np.array([upper.index(parents[joint]) for joint in level])]
        T_joint = T_parent_joint[:, np.array(level)]
        T_levels.append(T_parents[..., :3] @ T_joint + T_parents * position_only)
    in_order = np.argsort([joint for level in by_level for joint in level])
    return jnp.concatenate(T_levels, axis=1)[:, in_order]


def _rest_verts(body: Body, R_parent_joint: jax.Array, betas: jax.Array) -> jax.Array:
    """The shaped body with pose-dependent corrections, not yet posed. [b 3 verts], metres."""
    pose_feature = rearrange(R_parent_joint[:, 1:] - jnp.eye(3), "b joints i j -> b (joints i j)")
    by_shape = einsum(betas, body.shape_dirs, "b betas, verts xyz betas -> b xyz verts")
    by_pose = einsum(pose_feature, body.pose_dirs, "b pose, verts xyz pose -> b xyz verts")
    return body.template.T + by_shape + by_pose


def _skin(
    skin_weights: jax.Array, T_world_joint: jax.Array, rest_joints: jax.Array, rest_verts: jax.Array
) -> jax.Array:
    """Linear blend skinning of rest_verts [b 3 verts] to [b verts 3].

    Blending is one matmul with vertices last, so that all else works on long vectors: on a CPU,
    half the time of having coordinates last.
    """
    R_world_joint, t_world_joint = T_world_joint[..., :3], T_world_joint[..., 3]
    moved_rest = einsum(R_world_joint, rest_joints, "b joints i k, b joints k -> b joints i")
    T_joint = jnp.concatenate([R_world_joint, (t_world_joint - moved_rest)[..., None]], axis=-1)
    rows = rearrange(T_joint, "b joints i k -> k b i joints")
    # Do not fold these axes into one: if the batch is not outermost, each of many devices would
    # first gather the rows of all others.
    T_vert = einsum(rows, skin_weights, "k b i joints, verts joints -> k b i verts")
    verts = T_vert[3] + sum(T_vert[k] * rest_verts[:, k, None] for k in range(3))
    return rearrange(verts, "b i verts -> b verts i")


def keypoints(body: Body, posed: Posed) -> jax.Array:
    """The 49 keypoints of a posed body, [... 49 3], metres.

    Raises:
      UserError: the body has no J_regressor_extra.
    """
    landmarks = _regress(landmark_regressor(body), posed.verts)
    sources = jnp.concatenate([posed.joints, landmarks], axis=-2)
    return sources[..., skeleton.KEYPOINT_SOURCE, :]


def landmark_regressor(body: Body) -> jax.Array:
    """The body's landmark regressor [30 verts], which keypoints need.

    Raises:
      UserError: the body has no J_regressor_extra.
    """
    return _require(body.landmark_regressor, "the 49 keypoints", "J_regressor_extra.npy")


def h36m_joints(body: Body, posed: Posed) -> jax.Array:
    """The 17 joints of Human3.6M of a posed body, [... 17 3], metres.

    Raises:
      UserError: the body has no J_regressor_h36m.
    """
    regressor = _require(body.h36m_regressor, "Human3.6M's joints", "J_regressor_h36m.npy")
    return _regress(regressor, posed.verts)


def _regress(regressor: jax.Array, verts: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return einsum(verts, regressor, "... verts xyz, points verts -> ... points xyz")


def _require(array: jax.Array | None, what: str, file: str) -> jax.Array:
    if array is None:
        raise UserError(
            f"this body lacks the regressor of {what}: put {file} (from SPIN's data, see "
            "docs/body.md) next to the body's file; restricting a body to some vertices may drop it"
        )
    return array


def restrict(body: Body, vertex_ids) -> Body:
    """Restricts the body to the vertices `vertex_ids` [n]; runs on the host.

    Keeps faces whose vertices are all among them. Drops regressors that also need other vertices,
    because their points would be wrong.
    """
    ids = np.asarray(vertex_ids, np.int64)
    new_index = np.full(body.template.shape[0], -1)
    new_index[ids] = np.arange(len(ids))
    faces = new_index[np.asarray(body.faces)]

    def cut(regressor):
        if regressor is None or np.any(np.asarray(regressor)[:, new_index < 0]):
            return None
        return np.asarray(regressor)[:, ids]

    restricted = dataclasses.replace(
        body,
        template=np.asarray(body.template)[ids],
        shape_dirs=np.asarray(body.shape_dirs)[ids],
        pose_dirs=np.asarray(body.pose_dirs)[ids],
        skin_weights=np.asarray(body.skin_weights)[ids],
        faces=faces[(faces >= 0).all(axis=-1)].astype(np.int32),
        landmark_regressor=cut(body.landmark_regressor),
        h36m_regressor=cut(body.h36m_regressor),
    )
    return jax.device_put(restricted)


def keypoint_body(body: Body, *, h36m: bool = False) -> Body:
    """Restricts the body to the vertices that its keypoints need: same points without the mesh.

    With `h36m`, also keeps the vertices that Human3.6M's joints need.

    Raises:
      UserError: the body lacks these regressors.
    """
    needed = (np.asarray(landmark_regressor(body)) != 0).any(axis=0)
    if h36m:
        regressor = _require(body.h36m_regressor, "Human3.6M's joints", "J_regressor_h36m.npy")
        needed |= (np.asarray(regressor) != 0).any(axis=0)
    return restrict(body, np.flatnonzero(needed))
