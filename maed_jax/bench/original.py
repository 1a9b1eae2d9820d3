"""The operations of the original's network in closed form, the reference for all speed figures.

Multiplications and additions of matmuls and convolutions, counted separately; convolution windows
at the image border count in full. Operations that an implementation skips without changing the
result (the last block for one token only, a body of few vertices) still count, so that skipping
them shows as speed.
"""

from __future__ import annotations

from maed_jax.body.skeleton import ANCESTORS
from maed_jax.models.maed import MAED

VERTS, JOINTS, POINTS = 6890, 24, 9 + 17  # of SMPL; POINTS: rows of two sets of extra joints
BETAS, POSE = 10, 207


def root(model: MAED) -> int:
    """Counts the convolutional root, for one frame."""
    size = -(-model.image_size // 2)
    total = size**2 * 7 * 7 * 3 * model.width
    size, channels = -(-size // 2), model.width
    for stage, blocks in enumerate(model.stage_sizes):
        out = 4 * model.width * 2**stage
        inner, stride = out // 4, 1 if stage == 0 else 2
        for block in range(blocks):
            small = -(-size // stride) if block == 0 else size
            total += size**2 * channels * inner + small**2 * (9 * inner**2 + inner * out)
            if block == 0:
                total += small**2 * channels * out  # the shortcut
            size, channels = small, out
    return 2 * total


def tokens(model: MAED) -> int:
    """Returns the number of tokens per frame."""
    side = model.image_size
    for _ in range(len(model.stage_sizes) + 1):
        side = -(-side // 2)
    return side**2 + 1


def embedding(model: MAED) -> int:
    """Counts the projection to the transformer's width, for one frame."""
    channels = 4 * model.width * 2 ** (len(model.stage_sizes) - 1)
    return 2 * (tokens(model) - 1) * channels * model.dim


def block(model: MAED, t: int) -> int:
    """Counts one block of the encoder "ste", for one clip of `t` frames."""
    n, d = tokens(model), model.dim
    project, space, time, joint = 3 * d * d, 2 * n * d, 2 * t * d, 2 * t * n * d  # per token
    of_tokens = {
        "parallel": project + space + time + d * d,
        "parallel_v1": project + space + time + d * d,
        "series": 2 * project + space + time + d * d,
        "coupling": project + joint + d * d,
        "vanilla": project + space + d * d,
        "temporal": 0,
    }[model.mode]
    of_frames = {"parallel": 4 * d * d, "temporal": project + time + d * d}.get(model.mode, 0)
    return 2 * t * (n * (of_tokens + 8 * d * d) + of_frames)


def decoder(model: MAED) -> int:
    """Counts KTD, for one frame."""
    d, width = model.feature_dim, model.decoder_width
    joints = sum(6 * (width + 6 * len(above)) for above in ANCESTORS)
    return 2 * (d * width + width * width + joints + (10 + 3) * width)


def body() -> int:
    """Counts SMPL's whole mesh and the joints regressed from it, for one frame."""
    shaped = 3 * VERTS * (BETAS + POSE)
    regressed = 3 * VERTS * (JOINTS + POINTS)
    return 2 * (shaped + regressed + VERTS * (16 * JOINTS + 12) + JOINTS * 64)


def parts(model: MAED, t: int) -> dict[str, int]:
    """Counts each part of a forward pass over one clip of `t` frames."""
    return {
        "root": t * root(model),
        "embedding": t * embedding(model),
        "blocks": model.depth * block(model, t) + t * 2 * model.dim * model.feature_dim,
        "decoder": t * decoder(model),
        "body": t * body(),
    }


def forward(model: MAED, t: int) -> int:
    """Counts a forward pass over one clip of `t` frames."""
    return sum(parts(model, t).values())


def step(model: MAED, t: int) -> int:
    """Counts loss and gradient for one clip: three times forward, minus the pixels' gradient."""
    return sum(step_parts(model, t).values())


def step_parts(model: MAED, t: int) -> dict[str, int]:
    """Counts each part with its gradient, for one clip of `t` frames."""
    of_pixels = 2 * (-(-model.image_size // 2)) ** 2 * 7 * 7 * 3 * model.width
    three_times = {name: 3 * operations for name, operations in parts(model, t).items()}
    return three_times | {"root": three_times["root"] - t * of_pixels}
