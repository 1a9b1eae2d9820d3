"""The rows of Table 2 and the settings to train them."""

import jax
import jax.numpy as jnp
import pytest

from maed_jax.ablation.rows import (
    LINE_OF,
    ROWS,
    TABLE,
    Row,
    choose_rows,
    choose_seeds,
    load_study,
    stage_config,
)
from maed_jax.errors import UserError
from maed_jax.models.checks import DECODERS
from maed_jax.models.maed import MAED
from maed_jax.runs.config import load_config
from maed_jax.runs.settings import check_settings

# As printed, PA-MPJPE and MPJPE on 3DPW, part by part; None: not in the paper.
PRINTED = (
    [(52.2, 87.5), (50.9, 88.0), (47.5, 80.2), (45.7, 79.1)],
    [(52.2, 87.5), (51.1, 84.5), (None, None), (49.8, 84.5), (48.5, 83.6), (48.1, 81.6)]
    + [(47.5, 80.2), (49.3, 82.6)],
    [(47.5, 80.2), (47.7, 80.7), (45.7, 79.1), (47.7, 82.5), (47.6, 79.7)],
)


def test_the_table_is_the_papers():
    assert [[(line.pa_mpjpe, line.mpjpe) for line in part] for part in TABLE] == list(PRINTED)
    for line in (line for part in TABLE for line in part):  # repeated lines are the same row
        first = LINE_OF[line.row]
        assert (line.pa_mpjpe, line.mpjpe) == (first.pa_mpjpe, first.mpjpe)
    assert LINE_OF.keys() == ROWS.keys() and len(ROWS) == 13
    assert len(set(ROWS.values())) == 13
    assert {row.decoder for row in ROWS.values()} == set(DECODERS)
    assert ROWS["ste-ktd"] == Row("ste", "ktd", "parallel")


def test_every_line_shows_the_network_that_it_names():
    encoders = {
        "CNN": ("cnn", "parallel"), "CNN+TE": ("te", "parallel"), "CNN+SE": ("ste", "vanilla"),
        "CNN+TE, as released": ("ste", "temporal"), "CNN+STE": ("ste", "parallel"),
        "CNN+STE series": ("ste", "series"), "CNN+STE coupling": ("ste", "coupling"),
        "CNN+STE parallel V1": ("ste", "parallel_v1"), "CNN+STE parallel V2": ("ste", "parallel"),
    }  # fmt: skip
    for line in (line for part in TABLE for line in part):
        row, decoder = ROWS[line.row], line.decoder.lower().removeprefix("decoder ")
        assert ((row.encoder, row.mode), row.decoder) == (
            encoders[line.encoder], decoder.replace(" ", "_")
        )  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_network_in_both_stages(name):
    row, config = ROWS[name], load_config("ablation")
    for stage in ("stage1", "stage2"):
        c = stage_config(config, row, 1, stage, "earlier")
        check_settings(c)
        assert (c.seed, c.init_from, c.steps) == (1, "earlier", config.study[stage].steps)
        assert c.model.clip_length == (1 if stage == "stage1" else config.data.clip_length)
        assert (c.data.clips_per_batch == 0) == (stage == "stage1")
        assert "study" not in c
    model = MAED(**c.model)
    assert (model.encoder, model.decoder, model.mode) == (row.encoder, row.decoder, row.mode)
    clip = jnp.zeros((1, c.data.clip_length, c.model.image_size, c.model.image_size, 3))
    params = jax.eval_shape(
        lambda: model.init(jax.random.key(0), clip, None, method="regress")["params"]
    )
    layers = params["encoder"]
    assert ("layer4_0" in layers) == (row.encoder == "cnn")
    assert ("gate" in layers.get("block0", {}).get("attention", {})) == (
        row.encoder == "ste" and row.mode == "parallel"
    )
    assert "study" in config and config.seed == 0  # the study's own settings are unchanged


def test_a_random_tree_for_every_seed():
    config = load_config("ablation")
    seeds = [
        stage_config(config, ROWS["ste-ktd_random"], seed, "stage2").model.tree_seed
        for seed in (0, 1)
    ]
    assert seeds == [0, 1]


def test_choices():
    config = load_config("ablation")
    assert choose_rows(None) == list(ROWS)
    assert choose_rows("ste-ktd, cnn-ktd,ste-ktd") == ["ste-ktd", "cnn-ktd"]
    assert choose_seeds(None, config) == [0, 1, 2] and choose_seeds("2,0,2", config) == [2, 0]
    with pytest.raises(UserError, match="no row 'ste-kdt'; choose from cnn-iterative, "):
        choose_rows("ste-kdt")
    with pytest.raises(UserError, match="--rows is empty"):
        choose_rows(",")
    with pytest.raises(UserError, match="seeds 0, 1, 2, not 7; .* config.study.seeds"):
        choose_seeds("7", config)
    with pytest.raises(UserError, match="whole numbers such as 0,1, not 'a'"):
        choose_seeds("a", config)
    for wrong in (-1, 2**32, 0.5):
        config.study.seeds = (0, wrong)
        with pytest.raises(UserError, match="config.study.seeds must be whole numbers from 0 to"):
            choose_seeds("0", config)


def test_settings_of_a_study():
    overrides = ["--config.study.stage1.steps=9", "--config.model.dim=64"]
    config = load_study("ablation", overrides)
    c = stage_config(config, ROWS["cnn-ktd"], 0, "stage1")
    assert (c.steps, c.model.dim, len(c.model.stage_sizes)) == (9, 64, 4)
    with pytest.raises(UserError, match="each stage has its own steps: set config.study.stage1"):
        load_study("ablation", ["--config.steps=9"])
    model = {"encoder": "cnn", "mode": "series", "decoder": "vanilla", "tree_seed": 3}
    model = {f"model.{key}": value for key, value in model.items()}
    for key, value in {"seed": 3, "init_from": "x", **model}.items():
        with pytest.raises(UserError, match=f"config.{key} is set by the rows and seeds"):
            load_study("ablation", [f"--config.{key}={value}"])
    with pytest.raises(UserError, match="demo trains one model; try --config ablation"):
        load_study("demo", [])
