"""The mannequin's ten shape directions, with about one standard deviation per unit.

Lengths move joints, and the skin with them (each joint's frame is stretched and shifted, blended by
the skin weights); thickness moves the skin along its normals.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from maed_jax.body.mannequin_anatomy import smooth_step
from maed_jax.body.skeleton import JOINT_FLIP, PARENTS

SHAPE_NAMES = (
    "stature",
    "girth",
    "muscle",
    "leg length",
    "arm length",
    "shoulder width",
    "hip width",
    "belly",
    "chest depth",
    "head size",
)

_LEGS = (1, 2, 4, 5)
_SPINE = (0, 3, 6, 9)
_ARMS = (16, 17, 18, 19, 20, 21, 22, 23)


class _Frames:
    """Moves joints, stretches their frames, and blends the results with the skin weights."""

    def __init__(self, verts, joints, weights):
        self.verts, self.joints, self.weights = verts, joints, weights
        self.shift = np.zeros((24, 3))
        self.stretch = np.zeros((24, 3))

    def scale(self, joints, factors) -> None:
        """Stretches the frames of `joints` by `factors` [3] along the axes."""
        for joint in joints:
            self.stretch[joint] += factors

    def carry(self, root=(0.0, 0.0, 0.0)) -> None:
        """Shifts the joints as their parents' frames stretch, and the pelvis by `root`."""
        self.shift[0] += root
        for joint, parent in enumerate(PARENTS):
            if joint:
                bone = self.joints[joint] - self.joints[parent]
                self.shift[joint] += self.shift[parent] + self.stretch[parent] * bone

    def field(self) -> np.ndarray:
        """Displacement of the vertices [verts 3], metres."""
        local = self.verts[:, None] - self.joints
        moved = self.shift + self.stretch * local
        return np.einsum("vj,vji->vi", self.weights, moved)


def _blob(verts, center, radii) -> np.ndarray:
    """A Gaussian [verts] that is 1 at `center` and its mirror image and falls off over `radii`."""
    folded = verts.copy()
    folded[:, 0] = np.abs(folded[:, 0])
    return np.exp(-0.5 * (((folded - center) / radii) ** 2).sum(axis=1))


def _per_joint(weights, amounts: dict[int, float]) -> np.ndarray:
    table = np.zeros(24)
    for joint, amount in amounts.items():
        table[joint] = amount
    return weights @ table


def _both(amounts: dict[int, float]) -> dict[int, float]:
    """Extends amounts for joints of the left half and the middle to the right half."""
    return amounts | {JOINT_FLIP[joint]: amount for joint, amount in amounts.items()}


def shape_dirs(
    verts: np.ndarray,
    normals: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    mirror: np.ndarray,
    mean: sparse.csr_matrix,
) -> np.ndarray:
    """Shape directions [verts 3 betas], in the order of `SHAPE_NAMES`, exactly mirror symmetric."""
    soft, smooth_normals = weights, normals
    for _ in range(6):
        soft = mean @ soft
        smooth_normals = mean @ smooth_normals
    out = np.zeros((len(verts), 3, len(SHAPE_NAMES)))
    x, y, z = np.abs(verts[:, 0]), verts[:, 1], verts[:, 2]
    side = np.sign(verts[:, 0])
    inner = np.clip(-normals[:, 0] * side, 0, 1) * (y < -0.3) * smooth_step(-y, 0.30, 0.42)

    def along_normals(thickness):
        return smooth_normals * thickness[:, None]

    # stature: 7 cm; the head grows half as much as the rest
    frames = _Frames(verts, joints, soft)
    frames.scale(range(24), 0.0435)
    frames.scale((15,), -0.020)
    frames.carry(0.0435 * joints[0])
    out[..., 0] = frames.field()

    # girth: fat everywhere, most on the trunk; legs and arms make room
    amounts = {0: 0.013, 3: 0.015, 6: 0.013, 9: 0.010, 12: 0.006, 15: 0.0025, 1: 0.011, 4: 0.006}
    amounts |= {7: 0.0015, 10: 0.0005, 13: 0.007, 16: 0.009, 18: 0.005, 20: 0.0012, 22: 0.0006}
    thickness = _per_joint(soft, _both(amounts))
    thickness += 0.010 * _blob(verts, (0.0, -0.12, 0.10), (0.10, 0.09, 0.06))
    thickness += 0.005 * _blob(verts, (0.07, -0.30, -0.10), (0.06, 0.08, 0.06))
    thickness += 0.0035 * _blob(verts, (0.045, 0.385, 0.08), (0.03, 0.03, 0.05))
    frames = _Frames(verts, joints, soft)
    frames.shift[[1, 2, 4, 5, 7, 8, 10, 11]] = (0.006, 0, 0)
    frames.shift[[2, 5, 8, 11]] *= -1
    out[..., 1] = frames.field() + along_normals(0.85 * thickness * (1 - 0.45 * inner))

    # muscle: limbs, chest, shoulders and neck; none at joints and belly
    amounts = {1: 0.0055, 4: 0.001, 9: 0.003, 12: 0.005, 13: 0.005, 16: 0.002, 18: 0.001}
    thickness = _per_joint(soft, _both(amounts))
    thickness += 0.006 * _blob(verts, (0.11, -0.82, -0.06), (0.06, 0.07, 0.06))
    thickness += 0.004 * _blob(verts, (0.10, -0.48, 0.06), (0.07, 0.10, 0.08))
    thickness += 0.008 * _blob(verts, (0.20, 0.22, -0.02), (0.05, 0.06, 0.07))
    thickness += 0.007 * _blob(verts, (0.31, 0.22, -0.03), (0.06, 0.06, 0.07))
    thickness += 0.005 * _blob(verts, (0.50, 0.21, -0.04), (0.06, 0.06, 0.07))
    thickness += 0.008 * _blob(verts, (0.08, 0.15, 0.10), (0.06, 0.05, 0.05))
    thickness += 0.008 * _blob(verts, (0.13, 0.10, -0.06), (0.06, 0.09, 0.07))
    thickness += 0.005 * _blob(verts, (0.09, 0.28, -0.04), (0.05, 0.04, 0.05))
    thickness += 0.005 * _blob(verts, (0.08, -0.30, -0.10), (0.06, 0.06, 0.06))
    out[..., 2] = along_normals(thickness * (1 - 0.5 * inner))

    # leg length: 2.5 cm more leg, 2.5 cm less trunk, the same stature
    legs = 0.025 / (joints[1, 1] - joints[7, 1])
    frames = _Frames(verts, joints, soft)
    frames.scale(_LEGS, (0, legs, 0))
    frames.scale(_SPINE, (0, -0.025 / (joints[12, 1] - joints[1, 1]), 0))
    frames.carry()
    frames.shift[:, 1] -= frames.shift[7, 1]  # keep the feet on the floor
    out[..., 3] = frames.field()

    # arm length: 2 cm from shoulder to wrist, hands in proportion
    frames = _Frames(verts, joints, soft)
    frames.scale(_ARMS, (0.02 / (joints[20, 0] - joints[16, 0]), 0, 0))
    frames.carry()
    out[..., 4] = frames.field()

    # shoulder width: 1.2 cm on each side
    frames = _Frames(verts, joints, soft)
    frames.shift[[13, 16, 18, 20, 22], 0] = (0.005, 0.012, 0.012, 0.012, 0.012)
    frames.shift[[14, 17, 19, 21, 23], 0] = (-0.005, -0.012, -0.012, -0.012, -0.012)
    frames.scale((13, 14), (0.05, 0, 0))
    upper_chest = smooth_step(y, -0.05, 0.17) * (1 - smooth_step(y, 0.19, 0.27)) * weights[:, 9]
    widening = np.zeros_like(verts)
    widening[:, 0] = 0.055 * verts[:, 0] * upper_chest
    out[..., 5] = frames.field() + widening

    # hip width: 1.2 cm on each side, legs follow
    frames = _Frames(verts, joints, soft)
    frames.shift[[1, 4, 7, 10], 0] = (0.008, 0.006, 0.004, 0.004)
    frames.shift[[2, 5, 8, 11], 0] = (-0.008, -0.006, -0.004, -0.004)
    hips = np.exp(-0.5 * ((y + 0.28) / 0.085) ** 2) * (x < 0.3)
    widening = np.zeros_like(verts)
    widening[:, 0] = 0.065 * verts[:, 0] * hips
    widening[:, 2] = 0.05 * np.minimum(z, 0) * hips
    out[..., 6] = frames.field() + widening

    # belly: 2.2 cm forward, a little to the sides
    belly = _blob(verts, (0.0, -0.09, 0.10), (0.085, 0.085, 0.07))
    flanks = _blob(verts, (0.13, -0.12, 0.0), (0.04, 0.07, 0.09))
    bulge = np.zeros_like(verts)
    bulge[:, 2] = 0.022 * belly
    out[..., 7] = bulge + along_normals(0.007 * flanks + 0.002 * belly)

    # chest depth: ribs and bust forward
    bust = _blob(verts, (0.075, 0.115, 0.12), (0.050, 0.045, 0.06))
    ribs = np.exp(-0.5 * ((y - 0.11) / 0.09) ** 2) * (x < 0.22) * (1 - soft[:, list(_ARMS)].sum(1))
    bulge = np.zeros_like(verts)
    bulge[:, 2] = 0.016 * bust + 0.055 * z * ribs
    bulge[:, 1] = -0.003 * bust
    out[..., 8] = bulge

    # head size: 4 %
    frames = _Frames(verts, joints, soft)
    frames.scale((15,), 0.04)
    frames.scale((12,), (0.02, 0.0, 0.02))
    out[..., 9] = frames.field()

    for _ in range(2):
        flat = out.reshape(len(verts), -1)
        out = (0.5 * flat + 0.5 * (mean @ flat)).reshape(out.shape)
    flipped = out[mirror] * np.array([-1.0, 1.0, 1.0])[:, None]
    return 0.5 * (out + flipped)
