"""Stage 1 of the paper: trains the encoder on images and single frames.

    maed convert R50+ViT-B_16.npz --out runs/imagenet
    maed train --config stage1 --workdir runs/stage1 --config.data.data_dir=data \\
        --config.body=body --config.init_from=runs/imagenet

Batch size 512, 100 epochs, Adam with L2, learning rate 1e-4 divided by 10 after 60% and 90% of the
steps. Data: COCO, LSP-Extended and MPII (built with --labelled_only: people with a fit), frames of
Human3.6M, and every fifth frame of MPI-INF-3DHP; every image is sampled equally often. Unlike in
the released code, stage 2 starts from the encoder that is trained here.

Hardware: the paper used 16 GTX 1080 Ti. Time: not measured, this has not been run; a step takes
36 TFLOP, all 121 thousand steps 4.3 EFLOP. Expected: the paper gives no figures between the
stages; its results are those of stage 2.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.runs.config import defaults

# (dataset, weight of each image, use every n-th frame)
IMAGES = (
    ("h36m/crops", 1.0),
    ("mpi_inf_3dhp/crops", 1.0, 5),
    ("coco/crops", 1.0),
    ("mpii/crops", 1.0),
    ("lspet/crops", 1.0),
)
IMAGES_PER_EPOCH = 620_000  # approximately: 312 + 210 + 79 + 14 + 3 thousand
EPOCHS, BATCH = 100, 512


def get_config(variant: str | None = None) -> ConfigDict:
    """No variants."""
    if variant:
        raise UserError(f"stage1 has no variants, not even {variant!r}")
    c = defaults()
    c.body = "body"
    c.model.clip_length = 1  # single frames: the temporal branch sees only the frame itself
    c.data.images, c.data.clips, c.data.mix_by_size = IMAGES, (), True
    c.data.val_dataset = "threedpw/crops"
    c.data.clips_per_batch, c.data.images_per_batch = 0, BATCH
    c.data.augment.jitter = c.data.augment.hue = c.data.augment.erase = 0.0
    c.steps = EPOCHS * IMAGES_PER_EPOCH // BATCH
    c.log_every, c.eval_every, c.eval_windows, c.checkpoint_every = 100, 5000, 200, 1000
    return c
