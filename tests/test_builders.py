"""Datasets by name, and those defined in a user's file."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from small_videos import figure_images, write_video

from maed_jax.data import builders, prepare
from maed_jax.data.records import Records, dataset_directory
from maed_jax.errors import UserError

GUIDE = Path(__file__).parents[1] / "docs" / "data.md"
EXAMPLE = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.fixture(autouse=True)
def no_file_is_remembered(monkeypatch):
    """Restores imported modules and TFDS's registry of datasets after each test."""
    from tensorflow_datasets.core import registered

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registered, "_DATASET_REGISTRY", {**registered._DATASET_REGISTRY})
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", None)).endswith("garden.py"):
            del sys.modules[name]


@pytest.fixture
def raw(tmp_path):
    """Videos of two people with their labels, as in the documentation's example."""
    keypoints = np.random.default_rng(0).uniform(80, 160, (2, 3, 49, 2))
    for split in ("train", "test"):
        (tmp_path / "raw" / split).mkdir(parents=True)
        write_video(tmp_path / "raw" / split / "walk.mp4", figure_images([[(120, 120)]] * 3))
        np.savez(
            tmp_path / "raw" / split / "walk.truth.npz",
            keypoints_2d=keypoints, box=np.tile([120.0, 120, 80, 80], (2, 3, 1)),
            pose=np.full((2, 3, 72), 0.1), shape=np.zeros((2, 10)),
            intrinsics=[300.0, 300, 160, 120], fps=30,
        )  # fmt: skip
    return tmp_path / "raw"


def build(file, raw, *more):
    arguments = ["--manual_dir", str(raw), "--data_dir", str(raw.parent / "data"), *more]
    prepare.main(["build", str(file), *arguments, "--processes", "1"])


def test_the_guides_example_is_built_in_worker_processes(tmp_path, raw, capsys):
    file = tmp_path / "garden.py"
    file.write_text(EXAMPLE)
    build(file, raw)
    assert "test: 6 people in 6 images, 6 with SMPL" in capsys.readouterr().out
    records = Records(dataset_directory(tmp_path / "data", "garden/crops"), "train")
    assert [track.name for track in records.tracks] == ["train/walk_0", "train/walk_1"]
    assert records[4]["frame"] == 1 and records[4]["body"] == "mannequin"
    build(file, raw)  # nothing to do
    file.write_text(EXAMPLE + "\n# another text\n")
    with pytest.raises(UserError, match="other options .*garden.py=.*--overwrite"):
        build(file, raw)


def test_a_mistake_of_a_worker_process_names_its_line(tmp_path, raw):
    (tmp_path / "my_garden.py").write_text(EXAMPLE.replace('truth["shape"]', 'truth["shapes"]'))
    line = 1 + EXAMPLE.partition('truth["shape"]')[0].count("\n")
    with pytest.raises(UserError, match=f"my_garden.py, line {line}: KeyError: 'shapes'$"):
        build(tmp_path / "my_garden.py", raw)


@pytest.mark.parametrize(
    "name, text, says",
    [
        ("a_garden.py", "def read(:", "a_garden.py: SyntaxError"),
        ("b_garden.py", "\nimport maed_jaxx", "b_garden.py, line 2: ModuleNotFoundError"),
        ("c_garden.py", "import json", "defines no dataset: a subclass of ImagesBuilder"),
        ("json.py", "", "cannot be imported as 'json': give the file another name"),
        ("my.garden.py", "", "cannot be imported as 'my.garden': give"),
    ],
)
def test_mistakes_in_a_file_are_one_line(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        builders.builder_class(str(tmp_path / name))


def test_a_name_or_file_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(UserError, match="there is no file .*garden.py"):
        builders.builder_class(str(tmp_path / "garden.py"))
    with pytest.raises(
        UserError, match=r"'4dpw' \(for one of your own, .* .py file\); .*mean 3dpw\?"
    ):
        builders.builder_class("4dpw")
