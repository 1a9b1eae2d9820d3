"""A small network that learns the mannequins on a laptop: what `scripts/demo.sh` trains.

    maed train --config demo:stage1 --workdir demo/stage1
    maed train --config demo:stage2 --workdir demo/stage2 --config.init_from=demo/stage1
    maed eval --checkpoint demo/stage2 --data_dir demo/data --split test

Hardware: 2 CPU cores. Time and result: to be measured.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.training.config import defaults


def get_config(variant: str | None = None) -> ConfigDict:
    """Variants: stage1 (images; the default), stage2 (clips and images, from stage 1's encoder)."""
    if variant not in (None, "stage1", "stage2"):
        raise UserError(f"demo has no variant {variant!r}; choose from stage1, stage2")
    stage2 = variant == "stage2"
    c = defaults()
    c.mesh.data = 1  # one device, however many there are
    c.data.data_dir = "demo/data"

    c.model.image_size = 96
    c.model.stage_sizes, c.model.width = (1, 1, 1), 32
    c.model.dim, c.model.depth, c.model.heads = 128, 3, 4
    c.model.feature_dim, c.model.decoder_width = 128, 256
    c.model.dropout = 0.1

    c.optimizer.learning_rate = 3e-4 if stage2 else 1e-3
    c.optimizer.warmup_steps = 50
    c.optimizer.clip_norm = 1.0
    c.data.augment.erase = 0.1

    if stage2:
        c.model.clip_length = c.data.clip_length = 16
        c.data.clips_per_batch, c.data.images_per_batch = 2, 8
        c.steps = 300
    else:
        c.model.clip_length = 1
        c.data.clips_per_batch, c.data.images_per_batch = 0, 32
        c.steps = 600
    c.log_every, c.eval_every, c.eval_windows, c.checkpoint_every = 20, 0, 4, 100
    return c
