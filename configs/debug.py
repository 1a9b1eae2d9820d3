"""Two steps of a tiny network, to check that everything is installed and works.

    maed data build mannequins --config tiny --data_dir data
    maed train --config debug --workdir /tmp/maed_debug

Hardware: any CPU. Time: seconds, most of them compiling. Result: none; two steps train nothing.
"""

from ml_collections import ConfigDict

from maed_jax.errors import UserError
from maed_jax.runs.config import defaults


def get_config(variant: str | None = None) -> ConfigDict:
    """Variants: stage1 (images), stage2 (clips and images; the default)."""
    if variant not in (None, "stage1", "stage2"):
        raise UserError(f"debug has no variant {variant!r}; choose from stage1, stage2")
    c = defaults()
    c.steps, c.log_every, c.eval_every, c.checkpoint_every = 2, 1, 0, 1
    c.mesh.data = 1

    c.model.image_size = 32
    c.model.clip_length = 1 if variant == "stage1" else 4
    c.model.stage_sizes, c.model.width = (1,), 32
    c.model.dim, c.model.depth, c.model.heads = 32, 1, 2
    c.model.feature_dim = c.model.decoder_width = 32

    c.data.clips = c.data.images = (("mannequins/tiny", 1.0),)
    c.data.clip_length = 4
    c.data.clips_per_batch = 0 if variant == "stage1" else 2
    c.data.images_per_batch = 4
    return c
