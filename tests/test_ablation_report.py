"""The report's layout."""

from ablation_results import mean_pose, result, settings

from maed_jax.ablation.report import cell, report, table2
from maed_jax.ablation.rows import ROWS, TABLE
from maed_jax.ablation.summary import stat, summarise


def summary(rows=tuple(ROWS), seeds=(0, 1, 2)):
    results = [result(row, s, 40.0 + i + s) for i, row in enumerate(rows) for s in seeds]
    return summarise(results, mean_pose(), settings())


def cells(line):
    return [word.strip() for word in line.strip("|").split("|")]


def test_cells():
    assert cell(stat([1.0, 3.0])) == "2.0 ± 1.4" and cell(stat([1.26]), 2) == "1.26"
    assert cell(stat([None])) == cell(None) == "-"


def test_the_table_has_the_papers_lines_and_ours_beside():
    lines = [cells(line) for line in table2(summary()).splitlines() if line.startswith("|")]
    head, rule, *body = lines
    assert head[2:4] == ["paper, 3DPW: PA-MPJPE", "paper, 3DPW: MPJPE"]
    assert head[4:6] == ["ours, mannequins: PA-MPJPE", "ours, mannequins: MPJPE"]
    assert {len(line) for line in lines} == {len(head)}
    parts, part = [], []
    for line in body:
        if any(line):
            part.append(line)
        else:
            parts.append(part)
            part = []
    assert [len(p) for p in parts] == [len(p) for p in TABLE] == [4, 8, 5]
    assert parts[0][3] == [
        "CNN+STE", "KTD", "45.7", "79.1", "44.0 ± 1.0", "54.0 ± 1.0", "64.0 ± 1.0", "4.4 ± 0.1", "3"
    ]  # fmt: skip
    assert parts[1][2][2:4] == ["-", "-"]  # what the paper has not got
    assert parts[2][0] == parts[0][2]
    assert part[0][0] == "none: the mean pose" and part[0][4:6] == ["100.0", "110.0"]


def test_a_row_that_is_not_there_yet_is_a_dash():
    lines = table2(summary(("ste-ktd",), (0,))).splitlines()
    assert cells(lines[2])[4:] == ["-", "-", "-", "-", "0"]
    assert cells(lines[5])[4:6] == ["40.0", "50.0"]


def test_the_report_has_every_part_and_says_what_is_compared():
    text = report(summary(), ["table.png", "gates.png"])
    for title in ("Table 2", "Occlusion and the gate", "Error by depth", "Error by subset"):
        assert f"## {title}" in text
    assert "never ours with the paper's" in text and "39, 0.8 hours" in text
    assert "![table](table.png)" in text and "subsets.png" not in text
    assert "| 2 | blanked | 0.000 ± 0.000 | 0.300 ± 0.000 |" in text  # of the gate
    assert "| CNN + KTD - CNN + Iterative |" in text
    assert "| 8 | left_hand, right_hand | 65.5 ± 1.0 |" in text
    assert "0.44 ± 0.01" in text  # 44 of the mean pose's 100
    assert all(f"`{row}`" in text for row in ROWS)


def test_without_gates_or_pairs_the_rest_is_there():
    text = report(summary(("te-iterative",), (0,)))
    assert "gate" not in text and "by depth" not in text and "## Error by subset" in text
