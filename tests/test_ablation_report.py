"""The report's layout."""

from ablation_results import mean_pose, numbered, result, settings

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
    assert parts[1][2][2:4] == ["-", "-"]  # not in the paper
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
    assert "![table](table.png)\n\n## Occlusion" in text and "subsets.png" not in text
    assert "![gates](gates.png)\n\n## Error by depth" in text
    for stage in ("stage1", "stage2"):
        of = settings()["study"][stage]
        assert f"{stage}: {of['steps']} steps of {of['data']['clips_per_batch']} clips and " in text
        assert f" clips and {of['data']['images_per_batch']} images" in text
    blanked = " | ".join(f"blanked {part}" for part in (0.0, 0.3, 0.6, 0.9))
    assert f"| block | frame | {blanked} | change | r |" in text
    assert "| 2 | blanked | 0.000 ± 0.000 | 0.300 ± 0.000 |" in text  # of the gate
    assert "| 2 | others | 0.000 ± 0.000 | 0.000 ± 0.000 |" in text
    assert "| CNN + KTD - CNN + Iterative |" in text
    assert "| 8 | left_hand, right_hand | 65.5 ± 1.0 |" in text
    assert (
        "| 8 | left_hand, right_hand | 108.5 ± 2.0 | 110.5 ± 2.0 | 104.5 ± 2.0 | 106.5 ± 2.0 | "
        "2.0 ± 0.0 | 2.0 ± 0.0 | 222.5 |"
    ) in text  # rotations
    assert "0.44 ± 0.01" in text  # 44 of the mean pose's 100
    assert all(f"`{row}`" in text for row in ROWS)


def test_every_figure_stands_in_its_place():
    run, means = numbered(result("ste-ktd", 0)), numbered(mean_pose())
    run["gates"]["subsets"]["occlusion"][1] += 5  # so that the blocks' differences differ
    text = report(summarise([run], means, settings()))
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]

    def has(row, digits=1):
        shown = [f"{v:.{digits}f}" if isinstance(v, float) else v for v in row]
        assert any(r[: len(shown)] == shown for r in rows), shown

    name, blanked, gates = "CNN+STE + KTD", run["blanked"], run["gates"]
    shown = (0, 3, 6, 9)
    least, *_, most = gate = [blanked["gate"][i][1] for i in shown]
    has(["2", "blanked", *gate, most - least], 3)
    has(["2", "others", *(blanked["gate_others"][i][1] for i in shown), "", ""], 3)
    plain, occlusion, every = (gates["subsets"][s][1] for s in ("plain", "occlusion", "all"))
    has([name, "2", plain, occlusion, every, occlusion - plain], 3)
    ends = {row[-1] for row in rows if "2" in row[:2]}
    correlations = blanked["gate_correlation"], gates["occlusion_correlation"]
    assert {f"{of_blocks[1]:.2f}" for of_blocks in correlations} <= ends
    for metric in ("pa_mpjpe", "mpjpe"):
        ours, theirs = ([s[metric] for s in r["subsets"].values()] for r in (run, means))
        has([name, *ours])
        has(["mean pose", *theirs])
        has([name, *(a / b for a, b in zip(ours, theirs))], 2)
    has([name, *(blanked["pa_mpjpe"][i] for i in shown)])
    seconds = (f"{s:.0f}" for s in run["seconds"].values())
    has(["`ste-ktd`", "1.50", *run["last_losses"].values(), *seconds])


def test_gates_of_a_split_without_occlusion_have_no_difference():
    run = result("ste-ktd", 0)
    run["gates"] = {"subsets": {"all": [0.4, 0.6]}, "occlusion_correlation": [None, None]}
    text = report(summarise([run], mean_pose(), settings()))
    assert "| CNN+STE + KTD | 2 | 0.600 | - | - |" in text


def test_without_gates_or_pairs_the_rest_is_there():
    text = report(summary(("te-iterative",), (0,)))
    assert "\n\n\n" not in text
    assert "gate" not in text and "by depth" not in text and "## Error by subset" in text
