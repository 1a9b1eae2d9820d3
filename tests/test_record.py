"""Rows, tables and files of benchmark results."""

import json
import sys
import time

import pytest

from maed_jax.bench import record
from maed_jax.bench.clock import Times
from maed_jax.errors import UserError

DOC = "`maed bench made-up`: it measures.\n\nMore of it."


def test_a_row_counts_by_the_yardstick_of_its_own_turn():
    times = Times([2.0, 4.0], [(0, 1), (1, 2)])
    row = record.row("a", times, [10.0, 30.0, 10.0], operations=20, original=40)
    assert row["seconds"]["median"] == 3.0
    assert row["yards"] == {"median": 60.0, "low": 50.0, "high": 70.0}  # 2 x 20 and 4 x 20
    assert row["share"]["high"] == pytest.approx((20 / 40 + (20 / 40 + 20 / 80) / 2) / 2)
    assert row["original share"]["median"] == pytest.approx((1 + 0.5) / 2)
    assert set(record.row("a", times, [1.0] * 3)) == {"name", "seconds", "yards"}


def test_what_is_written_is_read(tmp_path, capsys):
    path = tmp_path / "a.json"
    record.write(str(path), "made-up", [{"name": "a"}], settings={"n": 1})
    found = record.read(str(path))
    assert found["bench"] == "made-up" and found["rows"] == [{"name": "a"}]
    assert found["settings"] == {"n": 1} and found["machine"]["cores"] >= 1
    assert str(path) in capsys.readouterr().out
    record.write(None, "made-up", [])


def test_a_table_lines_up():
    text = record.table(("", "ms"), [["long name", "1"], ["a", "23.5"]])
    assert text == "             ms\nlong name     1\na          23.5"


def test_median_and_range():
    values = {"median": 0.0012, "low": 0.001, "high": 0.0013}
    assert (
        record.median_range(values, times=1e3) == "1.2 [1, 1.3]" and record.median_range(None) == ""
    )


def test_the_yardstick_for_people():
    rates = {"matmuls, XLA": {"median": 2e11, "low": 1e11, "high": 3e11}}
    text = record.yardstick_lines({"rates": rates, "environment": {"OMP_NUM_THREADS": "1"}})
    assert "XLA 200 [100, 300]" in text and "OMP_NUM_THREADS=1" in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rounds", "0"], "--rounds: needs a whole number above 0"),
        (["--json", "absent/a.json"], "cannot write absent/a.json"),
        (["--plot", "absent/a.png"], "cannot write absent/a.png"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        record.check(record.timed_parser("made-up", DOC).parse_args(arguments))


def test_help_tells_the_default_that_holds(capsys):
    with pytest.raises(SystemExit):
        record.timed_parser("made-up", DOC, rounds=15).parse_args(["--help"])
    assert "default: 15" in capsys.readouterr().out


def test_seconds_of_the_clock_or_of_our_cores():
    parser = record.timed_parser("made-up", DOC)
    assert record.clock_of(parser.parse_args([])) is time.perf_counter
    assert record.clock_of(parser.parse_args(["--cpu"])) is time.process_time


def test_plots_need_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs matplotlib"):
        record.check(
            record.timed_parser("made-up", DOC).parse_args(["--plot", str(tmp_path / "a.png")])
        )


def test_the_parser_explains_the_module(capsys):
    with pytest.raises(SystemExit):
        record.timed_parser("made-up", DOC).parse_args(["--help"])
    printed = capsys.readouterr().out
    assert "maed bench made-up" in printed and "It measures." in printed and "More of it" in printed


def test_json_has_no_numpy(tmp_path):
    row = record.row("a", Times([1.0], [(0, 1)]), [1.0, 2.0], operations=3)
    assert json.loads(json.dumps(row)) == row


def test_the_built_in_body_is_measured_unless_another_is_asked_for():
    assert record.load("stage2", []).body == "mannequin"
    assert record.load("stage2", ["--config.body=/bodies"]).body == "/bodies"
