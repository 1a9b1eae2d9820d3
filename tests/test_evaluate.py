"""`maed eval`, from raw files in the owners' formats, through the builders, to its output."""

import csv
import dataclasses
import hashlib
import json

import numpy as np
import pytest
import raw_mpi_inf_3dhp
import raw_threedpw
import raw_toy
from fake_dataset import write_fake_dataset
from stub_estimator import Oracle, Stub

from maed_jax.body import smpl
from maed_jax.body.mannequin import mannequin
from maed_jax.data import prepare
from maed_jax.errors import UserError
from maed_jax.evaluation import evaluate, protocol_run, table1
from maed_jax.evaluation.scoring import Bodies
from maed_jax.files.locks import only_run_in
from maed_jax.runs.config import defaults


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """3DPW and MPI-INF-3DHP, built from raw files, and a dataset without a protocol."""
    data, raw = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("raw")
    raw_threedpw.write(raw / "3dpw")
    raw_mpi_inf_3dhp.write(raw / "3dhp")
    with pytest.MonkeyPatch.context() as patch:
        raw_toy.in_this_process(patch)
        from maed_jax.datasets.mpi_inf_3dhp import annotations

        patch.setitem(annotations.RECORDINGS, "S1/Seq1", (raw_mpi_inf_3dhp.FRAMES, 25))
        prepare.build("3dpw", data, "crops", manual_dir=raw / "3dpw", partial=True)
        prepare.build(
            "mpi_inf_3dhp", data, "crops", manual_dir=raw / "3dhp", partial=True, cameras=(8,)
        )
    for split in ("test", "train"):
        write_fake_dataset(data / split, [7, 9], split=split, subsets=["plain", "clutter"])
    return data


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Makes the command open a given estimator, with a small body that calls itself SMPL."""
    body = smpl.keypoint_body(mannequin(), h36m=True)
    config = defaults()
    config.data.eval_interval = 2
    (tmp_path / "config.json").write_text("{}")

    def open_with(estimator, name="smpl", genders=True):
        own = dataclasses.replace(body, name=name)
        bodies = Bodies(own, str(tmp_path / "SMPL_NEUTRAL.npz"))
        if genders:
            bodies._bodies |= {"male": own, "female": own}
        found = evaluate.Opened(str(tmp_path), 7, config, estimator, bodies)
        monkeypatch.setattr(evaluate, "open_checkpoint", lambda *_: found)
        if isinstance(estimator, Oracle):
            monkeypatch.setattr(evaluate, "_progress", estimator.watch)
            monkeypatch.setattr(protocol_run, "on_local_devices", lambda *same: same)
        return found

    return open_with


def run(*words):
    evaluate.main(["--checkpoint", "run", *map(str, words)])


def test_from_raw_3dpw_to_a_table_of_all_protocols(data_dir, opened, tmp_path, capsys):
    opened(Oracle())
    file = tmp_path / "table.json"
    run("--data_dir", data_dir, "--dataset", "3dpw/crops", "--protocol", "all", "--json", file)
    found = json.loads(file.read_text())
    rows = {row["protocol"]: row for row in found["rows"]}
    # Two tracks of 12 frames: in frame 3 OpenPose found nobody, and frame 5 is marked as invalid.
    counts = {"maed": 22, "spin": 22, "tcmr": 20, "wham": 20}
    assert {name: row["frames"] for name, row in rows.items()} == counts
    for row in rows.values():
        errors = [row[name] for name in ("mpjpe", "pa_mpjpe", "pve", "accel") if name in row]
        assert len(errors) in (2, 4)
        # wham's flip averages with an answer of the oracle, which ignores the mirrored image
        assert row["protocol"] == "wham" or max(errors) < 0.01
    text = capsys.readouterr().out
    assert "maed (MAED and VIBE): truth: the neutral body" in text
    assert "frames that the dataset marks as valid" in text
    about = found["about"]
    assert (about["step"], about["dataset_version"], about["split"]) == (7, "1.0.0", "test")
    assert about["config_sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert {p["truth"] for p in found["protocols"]} == {"neutral", "gendered"}
    assert {row["name"] for row in found["sequences"]} == {"talk_00_0", "talk_00_1"}
    assert len([row for row in found["joints"] if row["protocol"] == "maed"]) == 14


def test_from_raw_3dhp_to_pck(data_dir, opened, capsys):
    opened(Stub())
    run("--data_dir", data_dir, "--dataset", "mpi_inf_3dhp/crops")
    text = capsys.readouterr().out
    header, _, line = text.splitlines()[2:5]
    assert header.split()[-4:] == ["PCK", "AUC", "PA-PCK", "PA-AUC"] and "PVE" not in header
    cells = line.split()
    assert cells[0] == "maed" and cells[-5] == "-"  # m/s^2: the frame rate is unknown
    assert "without labels" not in text
    assert "no m/s^2: the records do not give the frame rate" in text


def test_joints_without_labels_are_named(data_dir, opened, capsys):
    """3DPW, built without a body, has no 3D keypoints; mannequins' 49 are all labelled."""
    opened(Stub())
    there = ("--data_dir", data_dir, "--dataset", "3dpw/crops", "--protocol.truth=keypoints")
    with pytest.raises(UserError, match="none has 3D keypoint labels"):
        run(*there)
    there = ("--data_dir", data_dir, "--dataset", "mpi_inf_3dhp/crops", "--protocol", "h36m/maed")
    run(*there)
    assert "h36m/maed: without labels: Jaw (H36M)." in capsys.readouterr().out


def test_all_files_of_a_folder(data_dir, opened, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    opened(Stub(), name="mannequin")
    out, npz = tmp_path / "out", tmp_path / "frames.npz"
    words = ("--protocol.pve=root", "--windows", "consecutive", "--out", out, "--predictions", npz)
    run("--data_dir", data_dir / "test", "--dataset", "fake/crops", *words)
    captured = capsys.readouterr()
    assert "maed, pve=root" in captured.out and "never compare" in captured.out
    assert "skipping the rows of the mean pose" in captured.err
    names = {file.name for file in out.iterdir()}
    tables = {"table.txt", "table.md", "table.csv", "sequences.csv", "joints.csv"}
    assert names == tables | {"results.json", "errors.png", "worst.png", ".lock"}
    assert (out / "table.txt").read_text() in captured.out
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert [(row["subset"], row["frames"]) for row in rows] == [
        ("plain", 7), ("clutter", 9), ("all", 16),
    ]  # fmt: skip
    with (out / "table.csv").open() as file:
        assert float(list(csv.DictReader(file))[2]["mpjpe"]) == rows[2]["mpjpe"]
    assert "| maed, pve=root | model | plain | 7 |" in (out / "table.md").read_text()
    for plot in ("errors.png", "worst.png"):
        assert (out / plot).stat().st_size > 5000

    frames = np.load(npz)
    assert frames["joints"].shape == (16, 14, 3) and frames["pose"].shape == (16, 72)
    np.testing.assert_array_equal(frames["frame"], [*range(7), *range(9)])
    np.testing.assert_allclose(frames["pve"].mean(), rows[2]["pve"])
    distances = np.linalg.norm(frames["joints"] - frames["target_joints"], axis=-1).mean(-1)
    np.testing.assert_allclose(1000 * distances, frames["mpjpe"])


def test_table_1_of_what_is_prepared(data_dir, opened, tmp_path, capsys):
    opened(Oracle(), genders=False)
    words = ["--checkpoint", "run", "--data_dir", str(data_dir), "--protocols", "all"]
    table1.main([*words, "--out", str(tmp_path / "one")])
    text = capsys.readouterr().out
    assert "Human3.6M: not evaluated: there is no prepared dataset" in text
    assert "skipping the row spin: " in text and "SMPL_MALE.npz is missing" in text
    assert "MPI-INF-3DHP, ours, maed (MAED): truth: labelled 3D keypoints" in text
    lines = {line.partition("  ")[0]: line.split() for line in text.splitlines()}
    assert lines["MAED, paper"][-8:] == "45.7 79.1 92.6 17.6 56.2 83.6 38.7 56.4".split()
    assert lines["ours, maed"][-8:-4] == ["0.0"] * 4 and lines["ours, maed"][-2:] == ["-", "-"]
    assert float(lines["ours, maed"][-4]) > 1  # the oracle does not know the pose of 3DHP's labels
    content = json.loads((tmp_path / "one" / "table1.json").read_text())
    assert content["rows"][0]["3dpw pa_mpjpe"] == 81.3 and set(content["results"]) == {
        "3dpw", "mpi_inf_3dhp",
    }  # fmt: skip
    assert "| 3DPW PA-MPJPE |" in (tmp_path / "one" / "table1.md").read_text()
    with pytest.raises(UserError, match="none of 3DPW, .* is prepared in .*maed data build NAME"):
        table1.main(["--checkpoint", "run", "--data_dir", str(tmp_path)])


def test_mistakes(tmp_path, opened, data_dir):
    with pytest.raises(UserError, match="there is no work directory"):
        run("--checkpoint", tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no checkpoint"):
        run("--checkpoint", tmp_path)
    with pytest.raises(UserError, match="cannot write"):
        run("--json", tmp_path / "no" / "file")
    with only_run_in(tmp_path / "out"), pytest.raises(UserError, match="use another --out"):
        run("--out", tmp_path / "out")
    with pytest.raises(UserError, match="there is no argument '--protcol'"):
        run("--protcol", "maed")
    opened(Stub(), genders=False)
    there = ("--data_dir", data_dir, "--dataset", "3dpw/crops")
    with pytest.raises(UserError, match="protocol spin: .*SMPL_MALE.npz is missing"):
        run(*there, "--protocol", "spin")
    with pytest.raises(UserError, match="--interpolate 3 does not divide the interval of 2"):
        run(*there, "--interpolate", 3)
    with pytest.raises(UserError, match="3dpw has no protocol 'meva'"):
        run(*there, "--protocol", "meva")
    data = opened(Stub(), name="mannequin").config.data
    with pytest.raises(UserError, match="the labels are for the body 'smpl', but the model's is"):
        run(*there)
    data.clips_per_batch, data.images = 0, (("lspet/crops", 1.0),)
    with pytest.raises(UserError, match="maed data build lspet"):  # what it was trained on
        run("--data_dir", data_dir)
    opened(Stub()).config.steps = 0
    with pytest.raises(UserError, match="run was converted or saved.* --dataset NAME/CONFIG"):
        run("--data_dir", data_dir)
    for main in (evaluate.main, table1.main):
        with pytest.raises(UserError, match="--batch: needs a whole number above 0, not '-5'"):
            main(["--checkpoint", "run", "--batch", "-5"])
