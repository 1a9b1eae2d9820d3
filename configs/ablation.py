"""The paper's Table 2 at a size that fits a laptop; trained by `maed ablate`.

    maed data build mannequins --config study --data_dir data
    maed ablate --config ablation --workdir runs/ablation

The settings above `study` apply to every row; `study` holds what differs between the stages. Each
row first trains on single images, then continues with encoder and decoder on clips and images.

Hardware: 2 shared CPU cores. Time: 4.3 core-hours for all 39 runs. Result: the paper's ranking of
encoders by PA-MPJPE, all rows within 4.9 mm; of the decoders, only the Transformer is worse
(docs/ablation.md).
"""

from ml_collections import ConfigDict

from maed_jax.runs.config import defaults


def get_config() -> ConfigDict:
    c = defaults()
    c.mesh.data = 1  # one device, however many there are

    c.data.clips = c.data.images = (("mannequins/study", 1.0),)
    c.data.interval = 1  # training tracks hold only every 8th frame
    c.data.clip_length = c.model.clip_length = 8

    c.model.image_size = 48
    c.model.stage_sizes, c.model.width = (1, 1, 1), 16
    c.model.dim, c.model.depth, c.model.heads = 128, 2, 4
    c.model.feature_dim, c.model.decoder_width = 128, 256
    c.model.dropout = 0.0

    c.loss.pose = 300.0
    c.optimizer.name, c.optimizer.schedule = "muon", "cosine"
    c.optimizer.learning_rate, c.optimizer.warmup_steps = 3e-3, 30
    c.optimizer.clip_norm = 100.0  # as in demo.py
    c.data.augment.crop_probability = 0.0
    c.data.augment.jitter, c.data.augment.hue = 0.1, 0.0
    c.data.augment.erase, c.data.augment.erase_max = 0.1, 0.4

    c.steps = 0  # set per stage below
    c.init_decoder = True
    c.log_every, c.eval_every, c.checkpoint_every, c.keep = 20, 0, 200, 1

    c.study = ConfigDict()
    c.study.seeds = (0, 1, 2)  # for initialisation and data order
    c.study.test_split = "test"
    c.study.blank_clips = 16  # clips in which one frame is blanked, see docs/ablation.md

    c.study.stage1 = ConfigDict()  # overrides for stage 1
    c.study.stage1.steps = 600
    c.study.stage1.model = ConfigDict({"clip_length": 1})
    c.study.stage1.data = ConfigDict({"clips_per_batch": 0, "images_per_batch": 64})
    c.study.stage1.optimizer = ConfigDict({"learning_rate": 3e-3, "warmup_steps": 30})

    c.study.stage2 = ConfigDict()
    c.study.stage2.steps = 200
    c.study.stage2.data = ConfigDict({"clips_per_batch": 6, "images_per_batch": 16})
    c.study.stage2.optimizer = ConfigDict({"learning_rate": 1e-3, "warmup_steps": 30})

    c.study.cnn = ConfigDict()  # model settings of rows with encoder "cnn"
    c.study.cnn.stage_sizes = (1, 1, 1, 1)  # a ResNet-50 has four stages, the root has three
    return c
