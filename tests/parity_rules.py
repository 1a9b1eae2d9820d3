"""The rule behind the golden vectors: weights, clips and a body as functions of names and shapes.

The vectors in `tests/golden` are outputs of the original implementation for these inputs, so each
function here must always return exactly the same bits. Layouts are PyTorch's (convolution kernels
out, in, h, w; linear weights out, in), as in the original's checkpoints.
"""

from __future__ import annotations

import zlib

import numpy as np
import scipy.sparse

TREE = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
JOINTS = len(TREE)
VERTS = 6890
FACES = 13776


def normal(name: str, shape, scale: float = 1.0) -> np.ndarray:
    """Gaussian float32 values, seeded with the checksum of `name`."""
    seed = zlib.crc32(name.encode())
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def weight(name: str, shape) -> np.ndarray:
    """The state-dict entry called `name`."""
    shape = tuple(shape)
    entry = name.rsplit(".", 1)[-1]
    if entry.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if entry.endswith("running_var"):
        return 1.0 + 0.1 * np.abs(normal(name, shape))
    if entry.endswith("running_mean"):
        return 0.1 * normal(name, shape)
    if entry.endswith(("cls_token", "pos_embed", "temp_embed")):
        return 0.2 * normal(name, shape)
    if len(shape) == 1:
        centre = 1.0 if entry.endswith("weight") else 0.0  # the scale of a norm, else a bias
        return centre + 0.1 * normal(name, shape)
    return normal(name, shape, 1.0 / np.sqrt(int(np.prod(shape[1:]))))


def clip(name: str, batch: int, frames: int, size: int = 224) -> np.ndarray:
    """An input clip [batch, frames, 3, size, size], channels first."""
    return normal(f"clip/{name}", (batch, frames, 3, size, size))


def body_model() -> dict:
    """A body of SMPL's sizes with SMPL's keys. It does not look like a human."""
    rng = np.random.RandomState(0)  # the order of the draws below is part of the rule
    rest = rng.randn(JOINTS, 3) * 0.05
    for joint, parent in enumerate(TREE[1:], start=1):
        sideways = 0.05 if joint % 2 else -0.05
        upwards = 0.1 * (joint % 3 - 1)
        rest[joint] += rest[parent] + np.array([sideways, upwards, 0])
    owner = np.arange(VERTS) % JOINTS
    template = rest[owner] + rng.randn(VERTS, 3) * 0.03
    skin = rng.rand(VERTS, JOINTS) ** 8
    skin[np.arange(VERTS), owner] += 2
    skin /= skin.sum(axis=1, keepdims=True)
    regressor = np.zeros((JOINTS, VERTS))
    for joint in range(JOINTS):
        mine = np.flatnonzero(owner == joint)
        regressor[joint, mine] = 1 / len(mine)
    shape_dirs = rng.randn(VERTS, 3, 10) * 0.01
    pose_dirs = rng.randn(VERTS, 3, 9 * (JOINTS - 1)) * 0.003
    faces = rng.randint(0, VERTS, (FACES, 3)).astype(np.uint32)
    return {
        "v_template": template,
        "shapedirs": shape_dirs,
        "posedirs": pose_dirs,
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "weights": skin,
        "kintree_table": np.array([(2**32 - 1, *TREE[1:]), range(JOINTS)], dtype=np.int64),
        "f": faces,
    }


def _regressor(seed: int, rows: int, nonzero: int = 40) -> np.ndarray:
    """[rows, VERTS]: `nonzero` random vertices per row, with weights that sum to one."""
    rng = np.random.RandomState(seed)
    lottery = rng.rand(rows, VERTS)
    threshold = np.sort(lottery, axis=1)[:, -nonzero, None]
    values = np.where(lottery >= threshold, rng.rand(rows, VERTS), 0.0)
    return values / values.sum(axis=1, keepdims=True)


def extra_regressor() -> np.ndarray:
    """`J_regressor_extra` [9, VERTS]."""
    return _regressor(1, 9)


def h36m_regressor() -> np.ndarray:
    """`J_regressor_h36m` [17, VERTS]."""
    return _regressor(2, 17)


def mean_params() -> dict[str, np.ndarray]:
    """Mean 6D pose [144], shape [10] and camera [3]."""
    rng = np.random.RandomState(3)
    upright = np.tile(np.array([1, 0, 0, 1, 0, 0], np.float32), JOINTS)
    pose = upright + rng.randn(6 * JOINTS).astype(np.float32) * 0.01
    shape = rng.randn(10).astype(np.float32) * 0.1
    return {"pose": pose, "shape": shape, "cam": np.array([0.9, 0, 0], np.float32)}


def smpl_files() -> dict:
    """Everything that `load_body` takes, in one mapping."""
    return {
        **body_model(),
        "J_regressor_extra": extra_regressor(),
        "J_regressor_h36m": h36m_regressor(),
        "mean_params": mean_params(),
    }
