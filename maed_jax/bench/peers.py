"""Other software as a reference, if installed; nothing else here needs it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maed_jax.body.smpl import Body
from maed_jax.errors import UserError

Cases = dict[str, Callable[[], object]]


def smplx(
    body: Body, rotmat: np.ndarray, shape: np.ndarray, verts: np.ndarray
) -> tuple[Cases, str]:
    """Runs smplx's SMPL layer on the same body, rotations `[n 24 3 3]` and shapes `[n 10]`.

    Args:
      verts: the expected vertices, `[n verts 3]`, metres.

    Returns:
      Functions to time, forward and with the gradient of the vertices' sum of squares, and ""; or
      no functions, and the reason.

    Raises:
      UserError: its vertices differ from `verts` by 0.1 mm or more.
    """
    try:
        import torch
        from smplx.body_models import SMPL
        from smplx.utils import Struct
    except ImportError as error:
        return {}, f"{error}; pip install smplx torch"

    count = len(rotmat)
    layer = SMPL("", data_struct=Struct(**smpl_file(body)), batch_size=count, create_transl=False)
    rotmat, shape = (torch.tensor(np.asarray(x), requires_grad=True) for x in (rotmat, shape))

    def pose():
        return layer(
            betas=shape, body_pose=rotmat[:, 1:], global_orient=rotmat[:, :1], pose2rot=False
        ).vertices

    def forward():
        with torch.no_grad():
            return pose()

    def gradient():
        return torch.autograd.grad((pose() ** 2).sum(), (rotmat, shape))

    distance = float(np.abs(forward().numpy() - np.asarray(verts)).max())
    if not distance < 1e-4:
        raise UserError(f"smplx's vertices differ from ours by {1000 * distance:.2g} mm")
    return {"smplx": forward, "smplx with gradient": gradient}, ""


def smpl_file(body: Body) -> dict[str, np.ndarray]:
    """Returns a body as the content of an SMPL file, under that file's names."""
    parents = np.array(body.parents, np.int64)
    template, shape_dirs = np.asarray(body.template), np.asarray(body.shape_dirs)
    return {
        "v_template": template,
        "shapedirs": shape_dirs,
        "posedirs": np.asarray(body.pose_dirs),
        "weights": np.asarray(body.skin_weights),
        "J_regressor": joint_regressor(body),
        "kintree_table": np.stack([parents, np.arange(len(parents))]),
        "f": np.asarray(body.faces),
    }


def joint_regressor(body: Body) -> np.ndarray:
    """Returns rows `[24 verts]` that regress the rest joints of any shape from its vertices.

    A `Body` holds the joints but not the rows that produced them; these are the minimum-norm rows
    that do the same. They are dense, as smplx's are after it has read SMPL's file.
    """
    verts = np.concatenate([body.template[..., None], body.shape_dirs], axis=-1, dtype=np.float64)
    joints = np.concatenate(
        [body.rest_joints[..., None], body.rest_joint_dirs], axis=-1, dtype=np.float64
    )
    verts, joints = (a.reshape(len(a), -1) for a in (verts, joints))
    return (joints @ np.linalg.pinv(verts)).astype(np.float32)
