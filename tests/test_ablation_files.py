"""The files of a study."""

import json

import pytest
from ablation_results import result

from maed_jax.ablation import files
from maed_jax.errors import UserError
from maed_jax.files.json import write_json
from maed_jax.runs.config import load_config


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    for name in ("a", "missing"):
        with pytest.raises(UserError, match=rf"{name}\.json cannot be read .* delete it"):
            files.read_json(tmp_path / f"{name}.json")


def test_results_come_in_the_tables_order(tmp_path):
    for row, seed in (("ste-ktd", 10), ("ste-ktd", 2), ("cnn-ktd", 0), ("se-iterative", 1)):
        files.result_path(tmp_path, row, seed).parent.mkdir(parents=True)
        write_json(files.result_path(tmp_path, row, seed), result(row, seed))
    (tmp_path / "ste-ktd" / "5").mkdir()  # unfinished
    (tmp_path / "ste-ktd" / "2 old").mkdir()
    write_json(tmp_path / "ste-ktd" / "2 old" / files.RESULT, {})
    found = files.read_results(tmp_path)
    assert [(row, seed) for row, seed, _ in found] == [
        ("cnn-ktd", 0),
        ("ste-ktd", 2),
        ("ste-ktd", 10),
        ("se-iterative", 1),
    ]
    assert found[0][2] == result("cnn-ktd", 0)


def test_a_directory_belongs_to_one_study(tmp_path):
    def study(*overrides):
        return load_config("ablation", overrides)

    workdir = tmp_path / "study"
    files.claim_directory(study(), workdir)
    files.claim_directory(study("--config.study.seeds=(0,1,2,3)"), workdir)
    assert json.loads((workdir / "config.json").read_text())["study"]["seeds"] == [0, 1, 2, 3]
    files.claim_directory(study("--config.data.data_dir=elsewhere"), workdir)
    with pytest.raises(
        UserError, match=r"other settings: config.study.stage2.steps \(200 there, 7 here"
    ):
        files.claim_directory(study("--config.study.stage2.steps=7"), workdir)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/study"):
        files.claim_directory(study(), tmp_path / "file" / "study")


def test_the_last_loss_is_the_same_for_a_run_that_was_interrupted(tmp_path):
    def logged(*lines):
        text = "\n".join(json.dumps(line) for line in lines)
        (tmp_path / "metrics.jsonl").write_text(text)
        return files.last_loss(tmp_path, every=4)

    validated = {"step": 8, "validation/pa_mpjpe": 50.0}
    assert logged(validated) is logged(validated, {"step": 8, "loss": None}) is None
    first, last = {"step": 4, "loss": 9.0}, {"step": 8, "loss": 4.0}
    assert logged(first, last, validated) == 4.0
    assert logged(first, {"step": 5, "loss": 7.0}, {"step": 8, "loss": 3.0}) == 4.0
    assert logged(first, last, {"step": 9, "loss": 2.0}) == 2.0
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b"\n\xff")  # truncated
    assert files.last_loss(tmp_path, every=4) == 2.0


def test_seconds_add_up_over_attempts(tmp_path):
    write_json(tmp_path / "seconds.json", {"stage1": 100.0})
    with pytest.raises(KeyboardInterrupt):
        with files.timed(tmp_path, "stage1"):
            raise KeyboardInterrupt
    with files.timed(tmp_path, "stage2"):
        pass
    seconds = files.read_json(tmp_path / "seconds.json")
    assert 100 <= seconds["stage1"] < 101 and seconds["stage2"] < 1
