"""`maed ablate`: what it runs, what it does not repeat, and a real study of one row."""

import contextlib
import json
import signal

import pytest
import tiny
from ablation_results import mean_pose, result
from fake_dataset import write_fake_dataset

from maed_jax.ablation import study as ablation
from maed_jax.ablation.files import result_path
from maed_jax.ablation.rows import ROWS, STAGES, load_study
from maed_jax.errors import UserError
from maed_jax.files.json import write_json
from maed_jax.files.locks import only_run_in
from maed_jax.runs.checkpoints import read_config, write_config


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    write_fake_dataset(directory, [12, 9])
    return directory


@pytest.fixture(autouse=True)
def _compiled_programs_of_other_tests_stay(monkeypatch):
    monkeypatch.setattr("jax.clear_caches", lambda: None)


@pytest.fixture
def study(data_dir, tmp_path):
    """Runs `maed ablate` in its own directory."""

    def ablate(*arguments, **settings):
        settings = {"data.data_dir": data_dir, "study.seeds": (0, 1)} | settings
        settings |= {f"data.{k}": "(('fake/crops',1.0),)" for k in ("clips", "images")}
        overrides = [f"--config.{key}={value}" for key, value in settings.items()]
        ablation.main(["--workdir", str(tmp_path / "study"), *map(str, arguments), *overrides])

    ablate.workdir = tmp_path / "study"
    return ablate


@pytest.fixture
def trained(monkeypatch):
    """Replaces training and measuring; lists the (row, seed, stage) that would be trained."""
    done = []

    def train(config, workdir):
        done.append((*workdir.parts[-3:-1], workdir.name))
        workdir.mkdir(parents=True, exist_ok=True)
        loss = {"stage1": 4.5, "stage2": 3.5}[workdir.name]
        (workdir / "metrics.jsonl").write_text(f'{{"step": 1, "loss": {loss}}}\n')
        write_config(workdir, config)
        return 0

    def measure_run(workdir, config):
        row, seed, stage = workdir.parts[-3:]
        assert stage == "stage2"
        return {
            key: value
            for key, value in result(row, int(seed)).items()
            if key in ("subsets", "joints", "blanked", "gates", "parameters", "steps")
        }

    monkeypatch.setattr("maed_jax.ablation.plots.draw", lambda *_: [])
    monkeypatch.setattr("maed_jax.training.train.train", train)
    monkeypatch.setattr(ablation, "measure_run", measure_run)
    monkeypatch.setattr(ablation, "measure_mean_pose", lambda config: mean_pose())
    return done


def test_every_row_of_every_seed_is_trained_in_two_stages(study, trained, capsys):
    study()
    assert trained == [(row, seed, stage) for seed in "01" for row in ROWS for stage in STAGES]
    first, second = (read_config(study.workdir / "ste-ktd" / "1" / stage) for stage in STAGES)
    assert first.seed == second.seed == 1 and first.init_from == ""
    assert second.init_from == str(study.workdir / "ste-ktd" / "1" / "stage1")
    assert second.init_decoder and second.model.decoder == "ktd"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 26 + 1
    assert lines[0].startswith("[1/26] cnn-iterative, seed 0: PA-MPJPE 50.0, MPJPE 60.0 mm; ")
    assert "; 25 left, about " in lines[0] and "left" not in lines[25]
    written = json.loads((study.workdir / "results.json").read_text())
    assert list(written["rows"]) == list(ROWS) and written["settings"]["study"]["seeds"] == [0, 1]
    assert "| CNN+STE | KTD | 45.7 | 79.1 | 50.0 ± 0.0 |" in (
        study.workdir / "report.md"
    ).read_text(encoding="utf-8")
    found = json.loads(result_path(study.workdir, "te-iterative", 1).read_text())
    assert found["last_losses"] == {"stage1": 4.5, "stage2": 3.5}
    assert set(found["seconds"]) == {*STAGES, "evaluation"} and found["encoder"] == "te"


def test_what_is_left_is_expected_to_take_as_long_as_what_is_done(tmp_path):
    for seed in (0, 1):
        result_path(tmp_path, "ste-ktd", seed).parent.mkdir(parents=True)
        write_json(result_path(tmp_path, "ste-ktd", seed), result("ste-ktd", seed))
    line = ablation._progress(tmp_path, "ste-ktd", 1, result("ste-ktd", 1), 2, 52)
    assert line.endswith("MPJPE 60.0 mm; 72 s; 50 left, about 60 min")


def test_what_is_done_is_not_done_again(study, trained, capsys):
    study("--rows", "cnn-ktd,ste-ktd", "--seeds", "0")
    assert len(trained) == 4
    trained.clear()
    study("--rows", "cnn-ktd,ste-ktd")
    assert trained == [(row, "1", stage) for row in ("cnn-ktd", "ste-ktd") for stage in STAGES]
    assert "2 of 4 runs are already done" in capsys.readouterr().out
    result_path(study.workdir, "cnn-ktd", 0).unlink()  # to measure it again
    trained.clear()
    study("--rows", "cnn-ktd,ste-ktd")
    assert trained == [("cnn-ktd", "0", stage) for stage in STAGES]


def test_a_stopped_study_goes_on_where_it_was(study, trained, monkeypatch, capsys):
    from maed_jax.training import train as train_module

    undisturbed, calls = train_module.train, []

    def stopped_at_the_fourth(config, workdir):
        calls.append(workdir)
        return signal.SIGINT if len(calls) == 4 else undisturbed(config, workdir)

    monkeypatch.setattr(train_module, "train", stopped_at_the_fourth)
    with pytest.raises(SystemExit) as stop:
        study("--rows", "cnn-ktd,ste-ktd", "--seeds", "0")
    assert stop.value.code == 130 and "the same command resumes" in capsys.readouterr().err
    assert json.loads((study.workdir / "results.json").read_text())["rows"].keys() == {"cnn-ktd"}
    study("--rows", "cnn-ktd,ste-ktd", "--seeds", "0")
    assert [path.name for path in calls[4:]] == list(STAGES)
    assert all("ste-ktd" in path.parts for path in calls[4:])


def test_stopped_before_anything_is_done(study, trained, monkeypatch, capsys):
    monkeypatch.setattr("maed_jax.training.train.train", lambda *_: signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        study("--rows", "cnn-ktd")
    assert stop.value.code == 143 and not (study.workdir / "report.md").exists()


def test_report_only_trains_nothing(study, trained, capsys):
    study("--rows", "ste-ktd")
    trained.clear()
    (study.workdir / "report.md").unlink()
    ablation.main(["--workdir", str(study.workdir), "--report_only"])
    assert (study.workdir / "report.md").exists() and not trained
    (study.workdir / "config.json").unlink()
    with pytest.raises(UserError, match="holds results but no config.json"):
        ablation.main(["--workdir", str(study.workdir), "--report-only"])


def test_mistakes(study, trained, tmp_path):
    with pytest.raises(UserError, match="there is no row 'ste'; choose from cnn-iterative"):
        study("--rows", "ste")
    with pytest.raises(UserError, match="has the seeds 0, 1, not 5"):
        study("--seeds", "5")
    with pytest.raises(UserError, match="config.study.seeds is empty"):
        study(**{"study.seeds": ()})
    with pytest.raises(UserError, match="config.study.blank_clips must be at least 1, not 0"):
        study(**{"study.blank_clips": 0})
    with pytest.raises(UserError, match="config.steps must be at least 1, not 0"):
        study(**{"study.stage2.steps": 0})
    with pytest.raises(UserError, match="demo trains one model"):
        ablation.main(["--workdir", str(study.workdir), "--config", "demo"])
    with pytest.raises(UserError, match="no prepared dataset"):
        study(**{"data.data_dir": "/nowhere"})
    with pytest.raises(UserError, match="holds no finished row"):
        ablation.main(["--workdir", str(tmp_path / "empty"), "--report_only"])
    for words in (["--config.steps=3"], ["--rows", "cnn-ktd"], ["--seeds", "0"], ["--config", "x"]):
        with pytest.raises(UserError, match=f"{words[0]} would have no effect"):
            ablation.main(["--workdir", str(study.workdir), "--report_only", *words])
    assert not study.workdir.exists()
    study("--rows", "ste-ktd")
    with pytest.raises(UserError, match="has a run with other settings: config.model.dim"):
        study("--rows", "ste-ktd", **{"model.dim": 64})


def test_a_test_split_of_short_tracks_is_refused_before_the_training(study):
    with pytest.raises(UserError, match=r"no whole clip .* has 12 frames, and 8 .* 8 .* need 57$"):
        study("--rows", "ste-ktd", **{"study.test_split": "train"})
    assert not study.workdir.exists()  # so that other settings can be tried there


def test_the_mean_pose_is_that_of_what_is_trained_on_and_clear_clips_are_plain(
    tmp_path, monkeypatch
):
    write_fake_dataset(tmp_path, [9])
    write_fake_dataset(tmp_path, [9, 8], name="other", split="test", subsets=("plain", "occlusion"))
    settings = {"data_dir": tmp_path, "clip_length": 4, "eval_interval": 1}
    settings |= {"val_dataset": "other/crops", "clips": "(('fake/crops',1.0),)"}
    overrides = [f"--config.data.{key}={value}" for key, value in settings.items()]
    config = load_study("ablation", [*overrides, "--config.model.clip_length=4"])
    clips = ablation.test_clips(config)
    assert [track.subset for track in clips.tracks] == ["plain", "occlusion"]
    assert [t.subset for t in ablation.clear_test_clips(config, clips).tracks] == ["plain"]

    first = next(iter(clips))
    assert first.frame[0].tolist() == [0, 1, 2, 3]
    config.data.augment.margin *= 2
    assert (next(iter(ablation.test_clips(config))).image != first.image).any()

    def opened(directory, split):
        raise LookupError(f"{directory} {split}")

    monkeypatch.setattr("maed_jax.data.records.Records", opened)
    with pytest.raises(LookupError, match="/fake/crops/1.0.0 train$"):
        ablation.measure_mean_pose(config)


def test_what_another_process_has_done_meanwhile_is_not_done_again(study, trained, monkeypatch):
    @contextlib.contextmanager
    def meanwhile(directory):
        directory.mkdir(parents=True)
        write_json(directory / "result.json", result("ste-ktd", 0))
        yield

    monkeypatch.setattr(ablation, "only_run_in", meanwhile)
    study("--rows", "ste-ktd", "--seeds", "0")
    assert not trained


def test_rows_are_shared_out_to_processes(study, trained, capsys):
    with only_run_in(study.workdir / "ste-ktd" / "0"):
        study("--rows", "cnn-ktd,ste-ktd", "--seeds", "0")
    assert "[2/2] ste-ktd, seed 0: running in another process" in capsys.readouterr().out
    assert {row for row, _, _ in trained} == {"cnn-ktd"}
    study("--rows", "cnn-ktd,ste-ktd", "--seeds", "0")  # after the other process has ended
    assert [row for row, _, _ in trained] == ["cnn-ktd", "cnn-ktd", "ste-ktd", "ste-ktd"]


def test_a_mistake_in_a_row_names_it(study, monkeypatch, trained):
    def fails(config, workdir):
        raise UserError("nothing is finite")

    monkeypatch.setattr("maed_jax.training.train.train", fails)
    with pytest.raises(UserError, match="^row ste-ktd, seed 1: nothing is finite$"):
        study("--rows", "ste-ktd", "--seeds", "1")


def test_a_real_row_has_the_figures_of_evaluate(study, tmp_path, monkeypatch, capsys):
    """Trains the tiny model for one step per stage and compares with `maed eval`."""
    from maed_jax.evaluation import evaluate

    monkeypatch.setattr("maed_jax.ablation.plots.draw", lambda *_: [])
    monkeypatch.setattr("maed_jax.ablation.measure.has_gates", lambda model: False)
    monkeypatch.setattr("maed_jax.runs.restore._check_fit", lambda *_: None)  # builds a MAED
    monkeypatch.setattr(
        "maed_jax.models.maed.MAED",
        lambda clip_length, **_: tiny.TinyModel(tiny.SIZE, clip_length),
    )
    settings = {"model.image_size": tiny.SIZE, "model.clip_length": 4, "data.clip_length": 4}
    settings |= {"study.test_split": "train", "data.eval_interval": 1, "study.blank_clips": 2}
    settings |= {"optimizer.name": "adam", "study.seeds": "(3,)"}
    for stage in STAGES:
        settings |= {f"study.{stage}.steps": 1, f"study.{stage}.optimizer.warmup_steps": 0}
        settings |= {f"study.{stage}.data.images_per_batch": 2}
    settings["study.stage2.data.clips_per_batch"] = 1
    study("--rows", "ste-ktd", **settings)

    directory = study.workdir / "ste-ktd" / "3"
    found = json.loads((directory / "result.json").read_text())
    table = tmp_path / "table.json"
    evaluate.main(
        ["--checkpoint", str(directory / "stage2"), "--split", "train", "--json", str(table)]
    )
    rows = {row["predictor"]: row for row in json.loads(table.read_text())["rows"]}
    means = json.loads((study.workdir / "mean_pose.json").read_text())["subsets"]
    for ours, theirs in ((found, "model"), ({"subsets": means}, "mean pose")):
        ours = ours["subsets"]["all"]
        assert ours["frames"] == 21
        for name in ("mpjpe", "pa_mpjpe", "pve"):
            assert ours[name] == pytest.approx(rows[theirs][name], rel=1e-4)
    assert len(found["blanked"]["mpjpe"]) == 10 and "gates" not in found
    assert found["steps"] == 1 and found["seed"] == 3 and found["parameters"] > 1000
    log = (directory / "train.log").read_text()
    assert "1 x cpu" in log and f"from {directory / 'stage1'}, step 1" in log
    out = capsys.readouterr()
    assert "step/s" not in out.err  # training logs its progress to train.log
    assert "no plots" in out.out
