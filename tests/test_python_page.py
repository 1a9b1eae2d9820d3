"""The examples of docs/python.md run as they are printed, one after the other."""

import re
from pathlib import Path

import numpy as np
import pytest
from fake_dataset import write_fake_dataset
from random_params import random_params
from small_videos import figure_images, write_video

pytest.importorskip("pyvista")
import maed_jax
from maed_jax.body.mannequin import mannequin
from maed_jax.inference.video import open_video
from maed_jax.prediction.predict import Options, predict_to

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
MODEL = maed_jax.MAED(
    image_size=32, clip_length=4, stage_sizes=(1,), width=8, dim=16, depth=1, heads=2,
    feature_dim=12, decoder_width=16,
)  # fmt: skip


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """On small stand-ins for what it takes: the demo's model and data, a video and its results."""
    monkeypatch.chdir(tmp_path)
    clip = np.zeros((1, 2, 32, 32, 3), np.float32)
    variables = random_params(MODEL.init, clip, None, method="regress")
    estimator = maed_jax.Estimator(MODEL, variables, mannequin(), interval=2)
    Path("demo").mkdir()
    maed_jax.save_estimator("demo/stage2", estimator)
    write_fake_dataset("demo/data", [12, 9], name="mannequins", split=("train", "test"))
    Path("demo/data/mannequins/crops").rename("demo/data/mannequins/demo")
    write_video(Path("dance.mp4"), figure_images([[(90 + 3 * i, 120)] for i in range(12)]))
    model = {"body": "mannequin"}
    predict_to("dance", open_video("dance.mp4"), estimator, Options(overlay=False), model=model)

    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert {"mine.mp4", "maed.stablehlo", "mine"} <= {path.name for path in tmp_path.iterdir()}
    assert names["maps"].blocks == (0,) and names["prediction"].pose.shape == (1, 4, 72)
    assert float(names["off"].mean()) < 5 and "MPJPE" in capsys.readouterr().out
    saved = maed_jax.restore_estimator("mine")
    np.testing.assert_array_equal(  # of the encoder nothing was trained
        saved.variables["params"]["encoder"]["token"], names["params"]["encoder"]["token"]
    )
    for name in maed_jax.__all__:
        assert name in PAGE.read_text(encoding="utf-8")
