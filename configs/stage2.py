"""Stage 2 of the paper: trains on 16-frame clips and images, from stage 1's encoder.

    maed train --config stage2 --workdir runs/stage2 --config.init_from=runs/stage1 \\
        --config.data.data_dir=data --config.body=body

`stage2:no_3dpw` trains without 3DPW. Batches of 32 clips, half of them with only 2D labels, and as
many images; 100 epochs, Adam with L2, learning rate 1e-4 divided by 10 after 60% and 90% of the
steps. A clip takes every 8th frame of a window of 128; every window is sampled equally often. The
paper does not define an epoch for three kinds of data; 500 steps are our choice.

Hardware: the paper used 16 GTX 1080 Ti. Time: not measured, this has not been run; a step takes
38 TFLOP, all 50 thousand steps 1.9 EFLOP. Expected (the paper's Table 1, PA-MPJPE and MPJPE
in mm): 3DPW 45.7 and 79.1 (50.7 and 88.8 without its training set), MPI-INF-3DHP 56.2 and 83.6
(56.5 and 85.1), Human3.6M 38.7 and 56.4 (38.7 and 56.3). Ours: none yet.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.runs.config import defaults

# (dataset, weight of each window, stride of windows in frames)
CLIPS = (("h36m/crops", 1.0, 64), ("mpi_inf_3dhp/crops", 1.0, 64), ("threedpw/crops", 1.0, 8))
CLIPS_2D = (
    ("instavariety/frames", 1.0, 64),
    ("posetrack/crops", 1.0, 64),
    ("pennaction/crops", 1.0, 64),
)
IMAGES = (("coco/crops", 1.0), ("mpii/crops", 1.0), ("lspet/crops", 1.0))
EPOCHS, STEPS_PER_EPOCH = 100, 500


def get_config(variant: str | None = None) -> ConfigDict:
    """Variants: no_3dpw."""
    if variant not in (None, "no_3dpw"):
        raise UserError(f"stage2 has no variant {variant!r}; choose no_3dpw or none")
    c = defaults()
    c.body = "body"
    c.init_required = True
    c.data.clips = tuple(d for d in CLIPS if not (variant and d[0].startswith("threedpw")))
    c.data.clips_2d, c.data.images, c.data.mix_by_size = CLIPS_2D, IMAGES, True
    c.data.val_dataset = "threedpw/crops"
    c.data.clips_per_batch = c.data.clips_2d_per_batch = 16
    c.data.images_per_batch = 32
    c.data.augment_clips_2d = ConfigDict({"jitter": 0.0, "hue": 0.0})
    c.data.augment_images = ConfigDict({"jitter": 0.0, "hue": 0.0})
    c.steps = EPOCHS * STEPS_PER_EPOCH
    c.log_every, c.eval_every, c.eval_windows, c.checkpoint_every = 50, 1000, 200, 500
    return c
