"""A small network that learns the mannequins on a laptop: what `scripts/demo.sh` trains.

    maed train --config demo:stage1 --workdir demo/stage1
    maed train --config demo:stage2 --workdir demo/stage2
    maed eval --checkpoint demo/stage2 --data_dir demo/data --split test

Hardware: one of 2 CPU cores, other work on the second. Time: stage 1 22 min, stage 2 3 min,
compiling included. Result on the test split: MPJPE 171.4 mm and PA-MPJPE 96.6 mm, 0.46 and 0.67 of
the mean pose's; after stage 1 172.1 and 97.4. Before Muon left read-outs to Adam it was 0.48 and
0.72, in as many steps.

Tried, one run each; all figures are MPJPE and PA-MPJPE over the mean pose's.

On the test split of another seed of the dataset (`--seed 99`):

    as below                                                                        0.43  0.69
    Muon for read-outs too                                                          0.42  0.71
    the same after 600 steps of stage 1                                             0.57  0.83
    as below, and pictures turned by up to 30 degrees, stage 1 (loss 24.0 for 18.4) 0.47  0.72

A harlequin kit, each limb in a colour of its own, tells left from right, but cannot be mirrored
and lends the built-in detector edges within people. Stage 1 alone, on the same people:

    Muon for read-outs too, 600 steps                                               0.53  0.80
    the same, 2300 steps: its pictures by heart (loss 11.1)                         0.44  0.69
    Adam for read-outs, 600 steps                                                   0.50  0.77
    the same, turned by up to 30 degrees, 2300 steps                                0.42  0.67
    20 degrees, half of the crops 0.95 to 1.25 boxes wide and 0.05 aside            0.42  0.68

The fourth of these with stage 2 on the test split: 0.45 and 0.70, no better than without. In
that kit width 32 for 16 had a loss of 32.1 after 300 steps where 16 had 36.1, at a third of the
speed, and 96 pixels for 64 had 41.7, at less than half: stopped there.

With Muon for what reads out too. On the last 200 people of the training split after 600 steps: a
pose weight of 60 gave 0.595 and 0.895, of 400 0.600 and 0.869; twice the learning rate was worse
half way (0.786 and 1.256 for 0.670 and 1.007). Clothes of all kinds among more clutter: 0.699 and
0.983; a plain convolutional network with a flat read-out 0.708 and 1.013. Four times as many people
on as many pictures, 8x8 tokens from two stages of the root, and Muon for convolutions too changed
nothing within 200 to 400 steps. On the validation split, whose 8 people are too few to choose by:
Adam alone at 1e-3, the only rate tried, 0.71 and 0.98 after 38,400 pictures in batches of 16; Muon
0.58 and 0.92 after 24,000 in batches of 16, 0.64 and 0.95 in batches of 32, 0.57 and 0.86 after
33,900 in batches of 64; 16 heads for 4 0.56 and 0.87 there, but no better in plain view on the test
split (0.55 and 0.84 for 0.55 and 0.85). Half the rate for all but Muon's matrices left the loss at
34.8 after 750 steps; half the rate for all and twice the rate for Muon's matrices were stopped
early, worse. 1200 people for 2000, in 2000 and 150 steps: 0.49 and 0.78 on the test split, where
2000 had 0.48 and 0.72.
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
