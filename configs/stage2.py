"""Stage 2 of the paper: 16-frame clips and images together, from stage 1's encoder.

    maed train --config stage2 --workdir runs/stage2 --config.init_from=runs/stage1 \\
        --config.data.data_dir=data --config.body=body

Batch 32 clips and as many images, 100 epochs, Adam with L2, 1e-4 divided by 10 after 60% and 90% of
the steps. A clip takes every 8th frame of a window of 128.

Hardware: the paper used 16 GPUs. Time and result: not run here; mannequins stand in for the
datasets, which must be fetched by their users.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.training.config import defaults

STEPS_PER_EPOCH = 500


def get_config(variant: str | None = None) -> ConfigDict:
    """It has no variants."""
    if variant:
        raise UserError(f"stage2 has no variants, not even {variant!r}")
    c = defaults()
    c.data.clips_per_batch, c.data.images_per_batch = 32, 32
    c.steps = 100 * STEPS_PER_EPOCH
    return c
