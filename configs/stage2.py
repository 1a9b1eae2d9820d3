"""Stage 2 of the paper: 16-frame clips and images together, from stage 1's encoder.

    maed train --config stage2 --workdir runs/stage2 --config.init_from=runs/stage1 \\
        --config.data.data_dir=data --config.body=body

`stage2:no_3dpw` trains without 3DPW. Batch 32 clips and as many images, 100 epochs, Adam with L2,
1e-4 divided by 10 after 60% and 90% of the steps. A clip takes every 8th frame of a window of 128.
The paper names the datasets and not their shares, nor how long an epoch is: both are ours.

Hardware: the paper used 16 GTX 1080 Ti. Time: not measured, this has not been run; see
docs/training.md for what is known. Expected, the paper's Table 1, PA-MPJPE and MPJPE in mm: 3DPW
45.7 and 79.1 (50.7 and 88.8 without its training set), MPI-INF-3DHP 56.2 and 83.6 (56.5 and 85.1),
Human3.6M 38.7 and 56.4 (38.7 and 56.3). Ours: none yet.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.training.config import defaults

# (dataset, share, frames from window to window)
CLIPS = (("h36m/crops", 0.4, 64), ("mpi_inf_3dhp/crops", 0.4, 64), ("threedpw/crops", 0.2, 8))
IMAGES = (("coco/crops", 75.0), ("mpii/crops", 15.0), ("lspet/crops", 9.0))
EPOCHS, STEPS_PER_EPOCH = 100, 500


def get_config(variant: str | None = None) -> ConfigDict:
    """Variants: no_3dpw."""
    if variant not in (None, "no_3dpw"):
        raise UserError(f"stage2 has no variant {variant!r}; choose no_3dpw or none")
    c = defaults()
    c.body = "body"
    c.init_required = True
    c.data.clips = tuple(d for d in CLIPS if not (variant and d[0].startswith("threedpw")))
    c.data.images = IMAGES
    c.data.val_dataset = "threedpw/crops"
    c.data.clips_per_batch, c.data.images_per_batch = 32, 32
    c.steps = EPOCHS * STEPS_PER_EPOCH
    c.log_every, c.eval_every, c.eval_windows, c.checkpoint_every = 50, 1000, 200, 500
    return c
