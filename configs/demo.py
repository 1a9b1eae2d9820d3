"""A small network that learns the mannequins on a laptop; trained by `scripts/demo.sh`.

    maed data build mannequins --config demo --data_dir demo/data
    maed data build mannequins --config demo_stills --data_dir demo/data
    maed train --config demo:stage1 --workdir demo/stage1
    maed train --config demo:stage2 --workdir demo/stage2
    maed eval --checkpoint demo/stage2 --data_dir demo/data --split test

Hardware: 2 CPU cores. Time: 13 min 10 s in total, installation included: 3 min 38 s to render,
7 min 31 s for the steps of stage 1 (82 ms each).
Result on the test split: MPJPE 129.2 mm and PA-MPJPE 80.3 mm, 0.34 and 0.56 of the mean pose's
(after stage 1: 129.3 and 79.8). docs/demo.md lists what was tried.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.runs.config import defaults


def get_config(variant: str | None = None) -> ConfigDict:
    """Variants: stage1 (images; the default), stage2 (clips and images, from stage 1's encoder)."""
    if variant not in (None, "stage1", "stage2"):
        raise UserError(f"demo has no variant {variant!r}; choose from stage1, stage2")
    stage2 = variant == "stage2"
    c = defaults()
    c.mesh.data = 1  # one device, however many there are
    c.data.data_dir = "demo/data"

    c.data.clips = (("mannequins/demo", 1.0),)
    c.data.images = (("mannequins/demo_stills", 0.8), ("mannequins/demo", 0.2))
    c.data.val_dataset = "mannequins/demo"  # the stills have only a training split
    c.data.interval = 1  # training tracks hold only every 8th frame
    c.data.clip_length = 8
    c.data.workers = 1  # threads would delay the dispatch of the next step

    c.model.image_size = 64
    c.model.stage_sizes, c.model.width = (1, 1, 1), 16
    c.model.dim, c.model.depth, c.model.heads = 128, 2, 16
    c.model.feature_dim, c.model.decoder_width = 128, 256
    c.model.dropout = 0.0

    c.loss.pose = 300.0
    c.optimizer.name, c.optimizer.schedule = "muon", "cosine"
    c.optimizer.learning_rate, c.optimizer.warmup_steps = 4e-3, 50
    c.optimizer.clip_norm = 100.0  # near the typical norm; rare batches with far more undo a lot
    c.data.augment.margin = 1.1  # at 64 pixels an arm is three pixels wide, so keep the crop tight
    c.data.augment.crop_probability = 0.0
    c.data.augment.flip = 0.0  # the kit distinguishes left from right
    c.data.augment.rotation = 10.0
    c.data.augment.jitter, c.data.augment.hue = 0.1, 0.0
    c.data.augment.erase, c.data.augment.erase_max = 0.05, 0.4

    if stage2:
        c.init_from, c.init_decoder = "demo/stage1", True
        c.model.clip_length = c.data.clip_length
        c.data.clips_per_batch, c.data.images_per_batch = 6, 16
        c.optimizer.learning_rate = 3e-4
        c.steps = 150
    else:
        c.model.clip_length = 1
        c.data.clips_per_batch, c.data.images_per_batch = 0, 64
        c.steps = 5500
    c.log_every, c.eval_every, c.checkpoint_every = 20, 0, 200
    return c
