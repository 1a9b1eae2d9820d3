"""Stage 1 of the paper: images and single frames teach the encoder to see.

    maed train --config stage1 --workdir runs/stage1 --config.data.data_dir=data --config.body=body

Batch 512, 100 epochs, Adam with L2, 1e-4 divided by 10 after 60% and 90% of the steps; frames of
Human3.6M and MPI-INF-3DHP beside images of COCO, LSP-extended and MPII. Unlike the released code,
the encoder that is trained here is the one that stage 2 starts from.

Hardware: the paper used 16 GPUs. Time and result: not run here; mannequins stand in for the
datasets, which must be fetched by their users.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.training.config import defaults

FRAMES_PER_EPOCH = 500_000


def get_config(variant: str | None = None) -> ConfigDict:
    """It has no variants."""
    if variant:
        raise UserError(f"stage1 has no variants, not even {variant!r}")
    c = defaults()
    c.model.clip_length = 1  # single frames: the branch over time sees only the frame itself
    c.data.clips_per_batch, c.data.images_per_batch = 0, 512
    c.data.augment.jitter = c.data.augment.hue = c.data.augment.erase = 0.0
    c.steps = 100 * FRAMES_PER_EPOCH // 512
    c.log_every, c.eval_every, c.checkpoint_every = 100, 5000, 5000
    return c
