import json

import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.evaluation import compare, report
from maed_jax.evaluation.compare import paired_bootstrap
from maed_jax.files.json import write_json


def results(errors, frames=None, label="maed", **about):
    """The content of a results file whose sequences have these errors."""
    frames = frames or [10] * len(errors)
    return {
        "format": report.FORMAT,
        "about": {"dataset": "3dpw", "dataset_version": "1.0.0", "split": "test"} | about,
        "protocols": [{"label": label, "text": f"{label} (somebody's)"}],
        "sequences": [
            {
                "protocol": label, "name": f"s{i}", "frames": n, "mpjpe": error, "pve": None,
                "pck": 100 - error, "counts": {"mpjpe": n, "pve": 0, "pck": n},
            }
            for i, (error, n) in enumerate(zip(errors, frames))
        ],
    }  # fmt: skip


def test_a_constant_gain_has_a_narrow_interval():
    a = np.random.default_rng(0).uniform(40, 160, 30)
    found = compare.compare(results(list(a)), results(list(a - 2)))
    assert set(found["metrics"]) == {"mpjpe", "pck"}
    mpjpe = found["metrics"]["mpjpe"]
    np.testing.assert_allclose([mpjpe[k] for k in ("difference", "low", "high")], -2)
    assert mpjpe["better"] == found["metrics"]["pck"]["better"] == 30
    assert mpjpe["a"] == pytest.approx(a.mean()) and found["frames"] == 300


def test_means_are_over_frames():
    found = compare.compare(results([10.0, 40.0], [30, 10]), results([20.0, 40.0], [30, 10]))
    mpjpe = found["metrics"]["mpjpe"]
    assert (mpjpe["a"], mpjpe["b"], mpjpe["better"]) == (17.5, 25.0, 0)


def test_the_interval_is_that_of_a_mean():
    """With many sequences, the bootstrap agrees with the normal approximation."""
    rng = np.random.default_rng(1)
    values = rng.normal(60, 10, (200, 2))
    found = paired_bootstrap(values, np.ones(200))
    difference = values[:, 1] - values[:, 0]
    half = 1.96 * difference.std() / np.sqrt(200)
    assert found["low"] == pytest.approx(difference.mean() - half, abs=0.15)
    assert found["high"] == pytest.approx(difference.mean() + half, abs=0.15)
    assert found == paired_bootstrap(values, np.ones(200))


def test_the_command_prints_and_writes(tmp_path, capsys):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, errors in zip(files, ([50.0, 60.0, 55.0], [49.0, 58.5, 56.0])):
        write_json(file, results(errors))
    compare.main([*map(str, files), "--json", str(tmp_path / "c.json")])
    text = capsys.readouterr().out
    assert (
        "3 sequences, 3 tracks, 30 frames" in text
        and "2 of 3" in text
        and "maed (somebody's)." in text
    )
    line = next(line for line in text.splitlines() if line.startswith("MPJPE"))
    assert line.split()[1:4] == ["55.00", "54.50", "-0.50"]
    assert json.loads((tmp_path / "c.json").read_text())["metrics"]["mpjpe"]["b"] == 54.5


def test_folders_of_results_are_read_and_few_sequences_are_reported(tmp_path, capsys):
    for name, count in (("few", 2), ("many", 5)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "results.json", results([50.0] * count))
        compare.main([str(tmp_path / name)] * 2)
    few, many = capsys.readouterr().out.split("5 sequences")
    assert "An interval over only 2 sequences says little." in few and "little" not in many
    with pytest.raises(UserError, match="results.json cannot be read"):
        compare.main([str(tmp_path)] * 2)


def test_what_cannot_be_written_is_reported_before_the_work(tmp_path):
    with pytest.raises(UserError, match="cannot write .*c.json"):
        compare.main(["a.json", "b.json", "--json", str(tmp_path / "no" / "c.json")])


@pytest.mark.parametrize(
    "other, message",
    [
        (results([1.0, 2.0], split="train"), "split is test in one and train in the other"),
        (results([1.0, 2.0], label="spin"), "share no protocol: maed in one, spin in the other"),
        (results([1.0]), "1 of 2 tracks, such as s1, do not have the same frames in both"),
        (results([1.0, 2.0], [10, 9]), "1 of 2 tracks, such as s1, do not have the same frames"),
    ],
)
def test_unlike_results_are_refused(other, message):
    with pytest.raises(UserError, match=message):
        compare.compare(results([1.0, 2.0]), other)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"rows": []}')
    with pytest.raises(UserError, match="is not a results file"):
        compare.main([str(tmp_path / "a.json")] * 2)
    with pytest.raises(UserError, match="cannot be read"):
        compare.main([str(tmp_path / "b.json")] * 2)
    with pytest.raises(UserError, match="protocol 'wham' is not in both files"):
        compare.compare(results([1.0]), results([2.0]), "wham")


@pytest.mark.parametrize(
    "dataset, names",
    [
        ("3dpw", ["walk_00_0", "walk_00_1", "walk_00_1:57"]),
        ("threedpw/crops", ["walk_00_0:3", "walk_00_0:57", "walk_00_1:57"]),
        ("h36m", ["S9_Posing.54138969", "S9_Posing.54138969:12", "S9_Posing.60457274:0"]),
        ("mpi_inf_3dhp", ["TS1:0", "TS1:57", "TS1"]),
        ("mannequins/crops", ["t1:0", "t1:57", "t1"]),
    ],
)
def test_parts_between_gaps_are_of_one_recording(dataset, names):
    errors = [50.0, 60.0, 70.0, 80.0]
    content = results(errors, dataset=dataset), results(errors, dataset=dataset)
    for found in content:
        for row, name in zip(found["sequences"], [*names, "another_01_0"]):
            row["name"] = name
    found = compare.compare(*content)
    assert (found["sequences"], found["tracks"]) == (2, 4)


def test_people_of_ones_own_videos_are_of_one_recording_where_it_is_said():
    content = [results([50.0, 60.0, 70.0, 80.0], dataset="garden/crops") for _ in range(2)]
    for found in content:
        for row, name in zip(found["sequences"], ["walk_0", "walk_1:57", "walk_12", "alone"]):
            row["name"] = name
    assert compare.compare(*content)["sequences"] == 4
    assert compare.compare(*content, recording_suffix=r"_\d+")["sequences"] == 2
    with pytest.raises(UserError, match=r"--recording_suffix: '_\(' is not a regular expression"):
        compare.main(["a", "b", "--recording_suffix", "_("])


def test_tracks_of_one_recording_are_drawn_together():
    """Two people of a recording count as one sequence: the interval is over 15 sequences."""
    rng = np.random.default_rng(2)
    gain = np.repeat(rng.normal(0, 5, 15), 2)  # the same for both
    a = rng.uniform(50, 70, 30)
    content = results(list(a)), results(list(a + gain))
    for found in content:
        for i, row in enumerate(found["sequences"]):
            row["name"] = f"walk_{i // 2:02d}_{i % 2}"
    together = compare.compare(*content)
    assert (together["sequences"], together["tracks"]) == (15, 30)
    for found in content:
        found["about"]["dataset"] = "unknown"
    separate = compare.compare(*content)
    assert (separate["sequences"], separate["tracks"]) == (30, 30)
    width = [
        m["metrics"]["mpjpe"]["high"] - m["metrics"]["mpjpe"]["low"] for m in (together, separate)
    ]
    assert width[0] == pytest.approx(width[1] * 2**0.5, rel=0.05)
    means = [m["metrics"]["mpjpe"]["difference"] for m in (together, separate)]
    assert means[0] == pytest.approx(means[1]) == pytest.approx(gain.mean())
