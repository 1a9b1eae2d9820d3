"""Tables, files and plots of `maed eval`; see also test_evaluate.py."""

import math

import numpy as np
import pytest

from maed_jax.evaluation import report
from maed_jax.evaluation.protocol_choice import choose

ROWS = [
    {"protocol": "maed", "predictor": "model", "subset": "plain", "frames": 1234, "mpjpe": 61.25,
     "accel": math.nan},
    {"protocol": "maed", "predictor": "model", "subset": "all", "frames": 12345, "mpjpe": 161.0,
     "accel": 3.0},
    {"protocol": "maed", "predictor": "a / b", "subset": "all", "frames": 5, "mpjpe": 1.251,
     "accel": None},
    {"protocol": "spin, root=pelvis", "predictor": "model", "subset": "all", "frames": 7,
     "mpjpe": 2.0},
]  # fmt: skip


def test_a_table_is_aligned():
    lines = report.text_table(report.cells(ROWS), group_by=1).splitlines()
    assert lines[0].split() == ["protocol", "predictor", "subset", "frames", "MPJPE", "ACCEL"]
    assert len({len(line) for line in lines[:7] if line}) == 1
    assert lines[2].split() == ["maed", "model", "plain", "1234", "61.2", "-"]
    assert lines[3].split() == ["all", "12345", "161.0", "3.0"]
    assert lines[5].split()[-2:] == ["1.25", "-"]
    assert lines[7].split()[-2:] == ["7", "2.0"]  # no ACCEL in this protocol
    markdown = report.markdown_table(report.cells(ROWS)).splitlines()
    assert markdown[1] == "| --- | --- | --- | ---: | ---: | ---: |"
    assert markdown[2] == "| maed | model | plain | 1234 | 61.2 | - |"


def test_csv_knows_no_nan():
    text = report.as_csv([ROWS[0] | {"counts": {"mpjpe": 3}}, ROWS[3]])
    assert text.splitlines() == [
        "protocol,predictor,subset,frames,mpjpe,accel",
        "maed,model,plain,1234,61.25,",
        '"spin, root=pelvis",model,all,7,2.0,',
    ]


@pytest.mark.parametrize(
    "names, expected",
    [
        ("maed", ["mpjpe", "pa_mpjpe", "pve", "accel", "accel_frame", "accel_second"]),
        ("tcmr", ["mpjpe", "pa_mpjpe", "pve", "accel", "accel_second"]),
        ("spin", ["mpjpe", "pa_mpjpe"]),
        ("spin,wham", ["mpjpe", "pa_mpjpe", "pve", "accel", "accel_frame", "accel_second"]),
    ],
)
def test_the_corrected_acceleration_stands_beside(names, expected):
    assert report.columns(choose("3dpw", names)) == expected


def test_the_worst_frames_are_apart(monkeypatch):
    plots = pytest.importorskip("maed_jax.evaluation.report_plots")

    class Track:
        def __init__(self, errors):
            self.errors = {"mpjpe": np.array(errors, float)}

    class Scores:
        tracks = [Track([9, math.nan, 8, *[1] * 40, 7]), Track([5.0] * 3)]

    found = plots.worst_frames(Scores)
    assert found == [(0, 0), (0, 43), (1, 0)]
    monkeypatch.setattr(plots, "PANELS", 2)
    assert plots.worst_frames(Scores) == found[:2]
