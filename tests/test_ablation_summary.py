"""Means over seeds."""

import jax
import numpy as np
import pytest
from ablation_results import mean_pose, numbered, result, settings

from maed_jax.ablation.summary import JOINT_ERRORS, by_depth, stat, summarise
from maed_jax.evaluation.scoring import PLAIN


def test_stat():
    assert stat([1.0, 3.0]) == {"mean": 2, "sd": pytest.approx(2**0.5), "n": 2, "values": [1, 3]}
    assert stat([1, 1, 4])["mean"] == 2
    assert stat([4]) == {"mean": 4, "sd": None, "n": 1, "values": [4]}
    assert stat([None, None])["mean"] is None
    assert stat([None, 5.0])["n"] == 1


def test_by_depth_averages_the_joints_of_a_level():
    found = by_depth(range(24))
    assert len(found) == 9 and found[:2] == [0, 2] and found[-1] == 22.5


def test_rows_are_averaged_over_their_seeds():
    results = [result("ste-ktd", 2, 46.0), result("ste-ktd", 0, 44.0), result("cnn-ktd", 0, 60.0)]
    found = summarise(results, mean_pose(), settings())
    assert list(found["rows"]) == ["cnn-ktd", "ste-ktd"]  # as in the table
    row = found["rows"]["ste-ktd"]
    assert row["seeds"] == [0, 2] and row["paper_3dpw"] == {"pa_mpjpe": 45.7, "mpjpe": 79.1}
    assert row["subsets"]["all"]["pa_mpjpe"]["values"] == [44, 46]
    assert row["subsets"]["plain"]["mpjpe"]["mean"] == 55
    assert row["depth"]["position_mm"][1]["mean"] == 45 + 2
    assert row["blanked"]["mpjpe"][-1]["mean"] == pytest.approx(45 + 9)
    assert found["mean_pose"]["depth"]["rotation_deg"][0] == 200
    assert found["seconds"] == 3 * 72 and len(found["environments"]) == 1
    assert set(found["runs"]["ste-ktd"]) == {"0", "2"}


def test_the_means_of_one_run_are_its_figures():
    run = numbered(result("ste-ktd", 0))
    found = summarise([run], mean_pose(), settings())
    row, gates = found["rows"]["ste-ktd"], found["claims"]["gates"]["ste-ktd"]

    def means(stats):
        return jax.tree.map(lambda s: s["mean"], stats, is_leaf=lambda s: "values" in s)

    for name, figures in run["subsets"].items():
        assert means(row["subsets"][name]) == {m: figures[m] for m in PLAIN.metrics}
    for name in ("last_losses", "seconds"):
        assert means(row[name]) == run[name]
    for name in ("mpjpe", "pa_mpjpe"):
        assert means(row["blanked"][name]) == run["blanked"][name]
    for name in JOINT_ERRORS:
        assert means(row["depth"][name]) == by_depth(run["joints"][name])
    for name in ("gate", "gate_others"):
        assert means(gates[name]) == run["blanked"][name]
    assert means(gates["correlation"]) == run["blanked"]["gate_correlation"]
    assert means(gates["subsets"]) == run["gates"]["subsets"]
    assert means(gates["occlusion_correlation"]) == run["gates"]["occlusion_correlation"]
    assert (found["about"]["dataset"], found["about"]["split"]) == ("mannequins/study", "test")


def test_gates_by_block_over_seeds():
    found = summarise(
        [result("ste-ktd", s) for s in (0, 1)] + [result("cnn-ktd", 0)], mean_pose(), settings()
    )
    ((name, gates),) = found["claims"]["gates"].items()
    assert name == "ste-ktd"
    assert [s["mean"] for s in gates["change"]] == pytest.approx([0, 0.9])
    assert [s["mean"] for s in gates["correlation"]] == [None, 1]
    assert [s["mean"] for s in gates["occlusion_less_plain"]] == pytest.approx([0, 0.25])
    assert np.shape(gates["gate"]) == (10, 2)


def test_decoders_are_compared_seed_by_seed():
    results = [result("ste-ktd", 0, 40.0), result("ste-ktd", 1, 50.0)]
    results += [result("ste-iterative", s, v) for s, v in ((1, 53.0), (2, 99.0))]
    ((pair, found),) = summarise(results, mean_pose(), settings())["claims"]["decoders"].items()
    assert pair == "ste-ktd - ste-iterative"
    assert all(s["values"] == [-3] for s in found["position_mm"])  # of seed 1 alone
    results = [result("cnn-iterative", 0, 70.0), result("cnn-ktd", 0, 64.0)]
    ((pair, found),) = summarise(results, mean_pose(), settings())["claims"]["decoders"].items()
    assert pair == "cnn-ktd - cnn-iterative" and found["rotation_deg"][0]["mean"] == -12
    results = [result("ste-ktd", 0), result("ste-iterative", 1)]
    assert summarise(results, mean_pose(), settings())["claims"]["decoders"] == {}
